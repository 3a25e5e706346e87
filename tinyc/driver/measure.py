"""Bytes of code and stack, as the target's compiler makes them. Without that compiler they stay unknown, and the report says so."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tinyc.errors import ToolError
from tinyc.targets import Target
from tinyc.toolchains.gcc_arm import OPTIMISATION_FLAGS, GccArm, find_gcc_arm

_SUFFIX = re.compile(r"\.(constprop|isra|part|cold)(\.\d+)?$")


@dataclass(frozen=True)
class Measured:
    """Bytes: code in flash, static RAM (.data and .bss, expected 0), and the deepest stack of any path of calls below the entry point."""

    code_bytes: int
    static_bytes: int
    stack_bytes: int


def measure(files: Mapping[str, str], name: str, entry: str, target: Target, optimization: str) -> Measured | None:
    """Compiles NAME.c for `target` and reads section sizes and stack use of `entry`; None where arm-none-eabi-gcc is not installed.

    `optimization` is the compiler's flag.
    Raises ToolError where the compiler is there but refuses the code.
    """
    try:
        gcc = find_gcc_arm()
    except ToolError:
        return None
    needed = ((file, text) for file, text in files.items() if file.endswith((".c", ".h")) and file != f"{name}_weights.c")
    return _measured(gcc, tuple(needed), name, entry, target.gcc_flags, optimization)


@lru_cache(maxsize=64)
def _measured(
    gcc: GccArm, files: tuple[tuple[str, str], ...], name: str, entry: str, core_flags: tuple[str, ...], optimization: str
) -> Measured:
    """`measure` with the compiler that was found; schedules that are tried one after the other often come to the same C."""
    with tempfile.TemporaryDirectory(prefix="tinyc-") as folder:
        for file, text in files:
            (Path(folder) / file).write_text(text, encoding="utf-8")
        source = Path(folder) / f"{name}.c"
        flags = [*OPTIMISATION_FLAGS, optimization, "-fstack-usage", "-fcallgraph-info=su"]
        (built,) = gcc.compile([source], Path(folder) / "objects", core_flags, flags)
        (size,) = gcc.sizes([built])
        graph = _call_graph(Path(folder) / "objects")
        unfolded = ""
        if has_folded(graph):
            # The same functions, each with a frame of its own, tell which ones the compiler has taken for the same.
            gcc.compile([source], Path(folder) / "unfolded", core_flags, [*flags, "-fno-ipa-icf"])
            unfolded = _call_graph(Path(folder) / "unfolded")
        stack = deepest_stack(graph, entry, unfolded) if graph else 0
    return Measured(size.text + size.rodata, size.data + size.bss, stack)


LIBRARY_FRAME_BYTES = 32
"""For a function whose frame gcc does not know: newlib's memcpy, memset, memmove and lrintf stay below that on ARMv7E-M."""

_NO_PATH: frozenset[str] = frozenset()
_NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*?(\d+) bytes \((?:static|dynamic|dynamic,bounded)\)')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')


def _call_graph(folder: Path) -> str:
    found = next(folder.glob("*.ci"), None)
    return found.read_text(encoding="utf-8") if found is not None else ""


def has_folded(graph: str) -> bool:
    """Whether a function of the file itself is called that has no frame: gcc has folded it into another one with the same code."""
    frames = {_plain(title) for title, _ in _NODE.findall(graph)}
    return any(":" in target and _plain(target) not in frames for _, target in _EDGE.findall(graph))


def deepest_stack(graph: str, root: str, unfolded: str = "") -> int:
    """Most stack bytes on any path of calls from `root`, in gcc's call graph (VCG text of -fcallgraph-info=su).

    Functions of the C library, such as memcpy, carry no figure there; they count as LIBRARY_FRAME_BYTES. A function that was folded into
    another one counts like the deepest of those that have the same frame and depth in `unfolded`, the graph of the code without folding:
    the one that has taken its place is among them, and its frame may have become larger.
    """
    folded, apart = _CallGraph(graph), _CallGraph(unfolded)

    def stand_in(function: str) -> int:
        if function not in apart.frames:
            return LIBRARY_FRAME_BYTES
        depth = apart.depth(function)
        same = [other for other, frame in apart.frames.items() if frame == apart.frames[function] and apart.depth(other) == depth]
        return max((folded.depth(other, stand_in) for other in same if other in folded.frames), default=depth)

    return folded.depth(root, stand_in)


def _library_frame(_: str) -> int:
    return LIBRARY_FRAME_BYTES


class _CallGraph:
    """Frames in bytes by function, and who calls whom."""

    def __init__(self, graph: str) -> None:
        self.frames: dict[str, int] = {}
        for title, size in _NODE.findall(graph):
            # Of several forms of one function, such as one with a constant argument, the deepest counts.
            self.frames[_plain(title)] = max(int(size), self.frames.get(_plain(title), 0))
        self._calls: dict[str, set[str]] = {}
        for source, target in _EDGE.findall(graph):
            self._calls.setdefault(_plain(source), set()).add(_plain(target))
        self._known: dict[str, int] = {}

    def depth(self, function: str, unknown: Callable[[str], int] = _library_frame, path: frozenset[str] = frozenset()) -> int:
        """Most bytes from `function` on; `unknown` says how many a function without a frame takes with all that it calls."""
        if function in path:
            return 0
        if function not in self._known:
            if function in self.frames:
                callees = self._calls.get(function, ())
                deeper = max((self.depth(callee, unknown, path | {function}) for callee in callees), default=0)
                self._known[function] = self.frames[function] + deeper
            else:
                self._known[function] = unknown(function)
        return self._known[function]


def _plain(title: str) -> str:
    return _SUFFIX.sub("", title.rpartition(":")[2])
