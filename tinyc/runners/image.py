"""Linker scripts: from memory regions to the text that the linker reads."""

from __future__ import annotations

from dataclasses import dataclass

from tinyc.targets import Bank
from tinyc.toolchains.runtime_files import render_runtime


@dataclass(frozen=True)
class MemoryMap:
    """Where an image goes: code and constants to `flash`, stack and variables to `ram`, the arena to `arena`, which may equal `ram`."""

    flash: Bank
    ram: Bank
    arena: Bank

    @property
    def arena_shares_ram(self) -> bool:
        """Whether the arena lies in the same memory as stack and variables."""
        return self.arena == self.ram


def linker_script(memory: MemoryMap, stack_bytes: int) -> str:
    """Text of a linker script with the regions FLASH, RAM and, where the arena has memory of its own, ARENA; sizes in bytes."""
    regions = [
        {"name": "FLASH", "access": "rx", "start": memory.flash.start, "bytes": memory.flash.bytes},
        {"name": "RAM", "access": "rw", "start": memory.ram.start, "bytes": memory.ram.bytes},
    ]
    if not memory.arena_shares_ram:
        regions.append({"name": "ARENA", "access": "rw", "start": memory.arena.start, "bytes": memory.arena.bytes})
    arena_region = "RAM" if memory.arena_shares_ram else "ARENA"
    return render_runtime("linker/image.ld.j2", regions=regions, arena_region=arena_region, stack_bytes=stack_bytes)
