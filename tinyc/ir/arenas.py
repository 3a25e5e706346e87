"""The arenas of a planned module: one, or one for each RAM bank that is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, IntegerAttr, ModuleOp, StringAttr

from tinyc.ir.mcu import number

_ATTRIBUTE = "arenas"


@dataclass(frozen=True)
class Arena:
    """`bytes` bytes in `bank`, of which it may have `limit_bytes`. Where no banks were asked for, bank and limit are empty and None."""

    bank: str
    bytes: int
    limit_bytes: int | None = None


def record_arenas(module: ModuleOp, arenas: Sequence[Arena]) -> None:
    """Notes on `module` which banks its arenas lie in, the fastest first, and the sum of their bytes."""
    entries = []
    for arena in arenas:
        assert arena.limit_bytes is not None  # only arenas in banks are recorded
        facts = {"bank": StringAttr(arena.bank), "bytes": number(arena.bytes), "limit": number(arena.limit_bytes)}
        entries.append(DictionaryAttr(facts))
    module.attributes[_ATTRIBUTE] = ArrayAttr(entries)
    module.attributes["arena_bytes"] = number(sum(arena.bytes for arena in arenas))


def arenas_of(module: ModuleOp) -> tuple[Arena, ...]:
    """The arenas of a module whose memory is planned, in the order in which the C takes them; without banks it is one without a name."""
    recorded = module.attributes.get(_ATTRIBUTE)
    if not isinstance(recorded, ArrayAttr):
        return (Arena("", _integer(module.attributes["arena_bytes"])),)
    return tuple(_arena(entry) for entry in recorded.data)


def _arena(entry: object) -> Arena:
    assert isinstance(entry, DictionaryAttr)
    bank = entry.data["bank"]
    assert isinstance(bank, StringAttr)
    return Arena(bank.data, _integer(entry.data["bytes"]), _integer(entry.data["limit"]))


def _integer(attribute: object) -> int:
    assert isinstance(attribute, IntegerAttr)
    return int(attribute.value.data)
