"""The shape of the house: imports point down, files stay short, and what is declared is what is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import networkx
import pytest

from tinyc.passes.registry import PASSES, pass_class

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tinyc"
LONGEST_FILE = 450

FLOORS = (
    ("version", "errors"),
    ("plugins",),
    ("memory", "targets", "cycles"),
    ("ir", "numerics"),
    ("interpreter", "frontends", "toolchains", "report", "zoo"),
    ("passes", "quantize"),
    ("backends", "runners"),
    ("driver", "profile"),
    ("api",),
    ("verify", "bench"),
    ("cli", "__init__"),
)
"""Rooms from the ground up; a room is a folder or a file directly in tinyc/."""

FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(module: str) -> str:
    """Room of a dotted name `tinyc.room...`; the package itself is the room `__init__`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def dotted(path: Path) -> str:
    """Name under which `path` is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import of tinyc's own modules, at the top or inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name.partition(".")[0] == "tinyc")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            if node.module == "tinyc":
                # `from tinyc import cli` imports the room, `from tinyc import Target` what __init__ exports.
                yield from ((node.lineno, f"tinyc.{alias.name}" if alias.name in FLOOR_OF else "tinyc") for alias in node.names)
            elif node.module and node.module.startswith("tinyc."):
                yield node.lineno, node.module


def test_every_room_has_a_floor() -> None:
    assert {room_of(dotted(path)) for path in MODULES} <= set(FLOOR_OF)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_its_own_room_and_lower_floors(path: Path) -> None:
    room = room_of(dotted(path))
    for line, name in imports_of(path):
        target = room_of(name)
        assert target == room or FLOOR_OF[target] < FLOOR_OF[room], f"{path}:{line}: {room} imports {name}, which is not below it"


def test_rooms_do_not_import_in_a_circle() -> None:
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    for path in MODULES:
        room = room_of(dotted(path))
        graph.add_edges_from((room, room_of(name)) for _, name in imports_of(path) if room_of(name) != room)
    assert list(networkx.simple_cycles(graph)) == []


def test_declared_packages_are_the_folders_that_exist() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    # Python 3.10 has no TOML reader; the list is plain enough.
    declared = set(re.findall(r'"([^"]+)"', text.partition("packages = [")[2].partition("]")[0]))
    assert declared == {dotted(path.parent / "__init__.py") for path in MODULES} | {"tinyc_runtime"}


def test_every_folder_with_modules_is_a_package() -> None:
    assert [path for path in MODULES if not (path.parent / "__init__.py").is_file()] == []


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_lives_in_the_file_of_its_name(name: str) -> None:
    assert PASSES[name].module.rpartition(".")[2] == name.replace("-", "_")
    assert pass_class(name).name == name
    assert (pass_class(name).__doc__ or "").strip()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_is_too_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
