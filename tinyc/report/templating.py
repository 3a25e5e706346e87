"""The templates of reports: HTML and SVG, in which every value is escaped."""

from __future__ import annotations

from functools import cache

import jinja2


@cache
def environment() -> jinja2.Environment:
    """Templates of tinyc/report/templates; a value that is not given is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("tinyc.report", "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=True,
    )
