"""The C, templates and linker scripts of runtime/, found wherever the package is installed."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

import jinja2


def runtime_directory() -> Path:
    """Folder with the C that ships with tinyc."""
    return Path(str(files("tinyc_runtime")))


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(runtime_directory()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def render_runtime(template: str, **values: object) -> str:
    """Text of the template `template` (path under runtime/) with `values`; an undefined name is an error."""
    return _environment().get_template(template).render(**values)
