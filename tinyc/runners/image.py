"""Linker scripts: from memory regions to the text that the linker reads."""

from __future__ import annotations

from dataclasses import dataclass

from tinyc.targets import Bank
from tinyc.toolchains.runtime_files import render_runtime


@dataclass(frozen=True)
class MemoryMap:
    """Where an image goes: code and constants to `flash`, stack and variables to `ram`, the arena to `arena`, which may equal `ram`.

    A network with several arenas has them in `banks` instead, by the names of their fields; one of these may equal `ram`.
    """

    flash: Bank
    ram: Bank
    arena: Bank
    banks: tuple[tuple[str, Bank], ...] = ()

    @property
    def arena_shares_ram(self) -> bool:
        """Whether the arena lies in the same memory as stack and variables."""
        return self.arena == self.ram


def linker_script(memory: MemoryMap, stack_bytes: int) -> str:
    """Text of a linker script with the regions FLASH, RAM and, where the arena has memory of its own, ARENA, or one for each bank."""
    regions: list[dict[str, object]] = [
        {"name": "FLASH", "access": "rx", "start": memory.flash.start, "bytes": memory.flash.bytes},
        {"name": "RAM", "access": "rw", "start": memory.ram.start, "bytes": memory.ram.bytes},
    ]
    arenas = [{"section": f"_{field}", "region": _region_name(field, bank, memory.ram), "bank": bank} for field, bank in memory.banks]
    if not arenas:
        arenas = [{"section": "", "region": "RAM" if memory.arena_shares_ram else "ARENA", "bank": memory.arena}]
    for arena in arenas:
        bank = arena["bank"]
        if arena["region"] != "RAM" and isinstance(bank, Bank):
            regions.append({"name": arena["region"], "access": "rw", "start": bank.start, "bytes": bank.bytes})
    return render_runtime("linker/image.ld.j2", regions=regions, arenas=arenas, stack_bytes=stack_bytes)


def _region_name(field: str, bank: Bank, ram: Bank) -> str:
    """What the linker, and its messages, call the memory of the arena `field`."""
    return "RAM" if bank == ram else bank_region(field)


def bank_region(field: str) -> str:
    """The linker's name of a bank."""
    return f"BANK_{field}"
