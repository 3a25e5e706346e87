"""Whose instructions are whose.

A compiler inlines functions into one another, and several layers share kernel bodies. Line tables say for each instruction which
functions of the source it was inlined from: an instruction of a layer's own function belongs to that layer wherever it lies.
Everything else (shared bodies, the C library) belongs to the layer whose own instruction was executed last: it called.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tinyc.cycles import Instruction
from tinyc.profile.description import LayerRecord
from tinyc.report.profile import SharedCode
from tinyc.toolchains.binutils import Origin
from tinyc.toolchains.elf import Program

NETWORK = 0
"""The owner of what belongs to no layer; layer n is owner n + 1."""

_CLONE = re.compile(r"\.(constprop|isra|part|cold|lto_priv)(\.\d+)?")


def static_owners(origins: Mapping[int, Origin], name: str, layers: Sequence[LayerRecord]) -> dict[int, int]:
    """Owner of each instruction that has one wherever it is called from, by address."""
    owner_of = {function: number + 1 for number, layer in enumerate(layers) for function in layer.functions}
    owner_of |= {f"{name}_{function}": NETWORK for function in ("invoke", "begin", "push_row")}
    owners = {}
    for address, origin in origins.items():
        known = (owner_of.get(_CLONE.sub("", function)) for function in origin.functions)
        owner = next((found for found in known if found is not None), None)
        if owner is not None:
            owners[address] = owner
    return owners


@dataclass(frozen=True)
class CodeAccount:
    """Bytes of the network's code: (owners,) what one layer runs alone, what several run, what nobody ran."""

    own: npt.NDArray[np.int64]
    shared: tuple[SharedCode, ...]
    unused: int


def code_account(
    program: Program,
    instructions: Sequence[Instruction],
    counts: npt.NDArray[np.uint64],
    owners: Mapping[int, int],
    origins: Mapping[int, Origin],
    build_dir: Path,
) -> CodeAccount:
    """Divides the code that was compiled from files in `build_dir`; constants between instructions count with the one before them.

    `counts` has the shape (owners, instructions).
    """
    own = np.zeros(len(counts), dtype=np.int64)
    shared: list[SharedCode] = []
    unused = 0
    place = {instruction.address: index for index, instruction in enumerate(instructions)}
    # Identical functions may have become one with several names.
    functions = {symbol.address: symbol for symbol in program.symbols if symbol.is_function and symbol.bytes and symbol.address in place}
    for address in sorted(functions):
        symbol = functions[address]
        origin = origins.get(address)
        if origin is None or origin.file.parent != build_dir:
            continue
        begin = place[address]
        end = begin
        while end < len(instructions) and instructions[end].address < address + symbol.bytes:
            end += 1
        starts = [instruction.address for instruction in instructions[begin:end]]
        sizes = np.diff([*starts, address + symbol.bytes])
        free = []
        for index, (start, size) in enumerate(zip(starts, sizes, strict=True), begin):
            if start in owners:
                own[owners[start]] += size
            else:
                free.append((index, int(size)))
        rest = sum(size for _, size in free)
        users = np.flatnonzero(counts[:, [index for index, _ in free]].any(axis=1))
        if len(users) == 1:
            own[users[0]] += rest
        elif len(users):
            shared.append(SharedCode(symbol.name, rest, tuple(int(user) for user in users)))
        else:
            unused += rest
    return CodeAccount(own, tuple(shared), unused)
