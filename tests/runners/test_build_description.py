"""report.json is checked before anything is compiled: a broken build folder is refused with the key that is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinyc.errors import ModelError
from tinyc.numerics.profile import Profile
from tinyc.runners import read_description
from tinyc.targets import load_target

Build = Callable[..., Path]


def test_a_build_folder_is_read_in_full(build: Build) -> None:
    folder = build("stm32f412")
    description = read_description(folder)
    assert (description.name, description.macro, description.profile) == ("reverse", "REVERSE", Profile.TFLM)
    assert (description.target_name, description.core) == ("stm32f412", "cortex-m4")
    assert description.gcc_flags == load_target("stm32f412").gcc_flags
    assert [source.name for source in description.sources] == ["reverse.c", "reverse_weights.c"]
    assert (description.arena_bytes, description.arena_align) == (77, 16)
    (image,) = description.inputs
    assert (image.name, image.shape, image.offset, image.scale, image.zero_point) == ("image", (3, 4), 16, 0.5, -3)


def changed(report: dict[str, Any], path: str, value: object) -> None:
    *parents, last = path.split(".")
    place: Any = report
    for key in parents:
        place = place[int(key) if key.isdigit() else key]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("name", KeyError, "`name` must be a string, found None"),
        ("name", "a; b", "must be a C identifier"),
        ("numerics", "exact", "must be one of litert, tflm"),
        ("target", [], "`target` must be an object"),
        ("target.core", "cortex-m0", "one of cortex-m4, cortex-m7, host"),
        ("target.gcc_flags", ["-fplugin=evil.so"], "must be an array of -mcpu="),
        ("target.gcc_flags", KeyError, "must be an array of -mcpu="),
        ("sources", [], "at least one entry"),
        ("sources", ["../reverse.c"], "names of files in the build folder"),
        ("sources", ["-o.c"], "names of files in the build folder"),
        ("sources", ["absent.c"], "absent.c is missing"),
        ("sources", ["reverse.h"], "at least one .c file"),
        ("arena.bytes", 0, "whole number from 1"),
        ("arena.bytes", True, "whole number from 1"),
        ("arena.align", 24, "power of two"),
        ("inputs", {}, "`inputs` must be an array"),
        ("inputs.0.dtype", "complex64", "one of int8, uint8"),
        ("inputs.0.shape", [3, -4], "positive whole numbers"),
        ("inputs.0.bytes", 13, "must be the size of int8 of shape"),
        ("inputs.0.offset", 66, "must end inside the arena of 77 bytes, found 78"),
        ("inputs.0.scale", 0, "positive number or null"),
        ("outputs.0.zero_point", 0.5, "whole number or null"),
        ("outputs.0.name", 3, "`name` must be a string"),
    ],
)
def test_a_wrong_report_is_refused_with_the_key(build: Build, path: str, value: object, message: str) -> None:
    folder = build()
    report = json.loads((folder / "report.json").read_text())
    changed(report, path, value)
    (folder / "report.json").write_text(json.dumps(report))
    with pytest.raises(ModelError, match=message):
        read_description(folder)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not JSON"), ("[]", "must be an object"), ("\xff", "JSON"), ("[" * 100_000, "is not JSON")]
)
def test_a_report_that_is_no_report_is_refused(build: Build, text: str, message: str) -> None:
    folder = build()
    (folder / "report.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError, match=message):
        read_description(folder)


def test_a_folder_without_report_is_no_build_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is not a build folder: cannot read report\.json"):
        read_description(tmp_path)
