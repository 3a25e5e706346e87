"""Links a build for the real part: the linker is the judge of what fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tinyc.errors import DoesNotFitError, UsageError
from tinyc.runners.description import ArenaRegion, read_description
from tinyc.runners.harness import prepare_work_dir
from tinyc.runners.image import MemoryMap, bank_region, linker_script
from tinyc.targets import Bank, Target
from tinyc.toolchains.gcc_arm import DEFAULT_FLAGS, ObjectSize, RegionOverflowError, find_gcc_arm
from tinyc.toolchains.runtime_files import render_runtime, runtime_directory

DEFAULT_STACK_BYTES: Final = 4096


@dataclass(frozen=True)
class LinkedPart:
    """An image for a part: start-up code, a main that runs the network once, the network. `size` includes arena and stack."""

    elf: Path
    size: ObjectSize
    network: tuple[ObjectSize, ...]
    """Object files of the network alone, before unused sections are dropped."""


def link_for_part(build_dir: Path, target: Target, work_dir: Path | None = None, stack_bytes: int = DEFAULT_STACK_BYTES) -> LinkedPart:
    """Links the build for `target`: arena in its arena bank, stack of `stack_bytes` and variables in its stack bank, weights in flash.

    Memory is limited to the target's `ram_bytes` and `flash_bytes`. Raises DoesNotFitError saying which memory is too small and by how
    much, ModelError for a broken build folder, UsageError for the host, ToolError where the compiler is missing or fails.
    """
    if target.flash is None:
        raise UsageError(f"target {target.name} is no microcontroller; there is nothing to link for")
    description = read_description(build_dir)
    folder, _ = prepare_work_dir(build_dir, f"link-{target.name}", work_dir)
    gcc = find_gcc_arm()
    main = folder / "main.c"
    main.write_text(
        render_runtime(
            "part/main.c.j2",
            name=description.name,
            macro=description.macro,
            pushed=description.pushed is not None,
            arenas=description.arenas,
            banked=description.banked,
        ),
        encoding="utf-8",
    )
    script = folder / "part.ld"
    memory = part_memory(target, description.arenas)
    script.write_text(linker_script(memory, stack_bytes), encoding="utf-8")
    include = f"-I{description.directory.resolve()}"
    network = gcc.compile(description.sources, folder / "objects", target.gcc_flags, [*DEFAULT_FLAGS, description.optimization, include])
    around = gcc.compile(
        [main, runtime_directory() / "startup" / "startup.c"], folder / "startup", target.gcc_flags, [*DEFAULT_FLAGS, include]
    )
    try:
        elf = gcc.link([*around, *network], script, folder / f"{description.name}.elf", target.gcc_flags)
    except RegionOverflowError as error:
        raise DoesNotFitError(_overflow_text(error, description.name, target, memory)) from error
    return LinkedPart(elf, gcc.sizes([elf])[0], tuple(gcc.sizes(network)))


def part_memory(target: Target, arenas: Sequence[ArenaRegion] = ()) -> MemoryMap:
    """The memory that a network may use on `target`, which must be a microcontroller; `arenas` that were planned for banks have those.

    Raises UsageError for a bank that the target does not have.
    """
    if target.flash is None:
        raise UsageError(f"target {target.name} has no memory map")
    flash = Bank("flash", target.flash.start, target.flash_bytes)
    if arenas and arenas[0].bank:
        ram = target.bank(target.stack_bank)
        banks = tuple((arena.field, target.bank(arena.bank)) for arena in arenas)
        return MemoryMap(flash, ram, banks[0][1], banks if len(banks) > 1 else ())
    region = target.region(target.arena_bank)
    arena = Bank(region.name, region.start, target.ram_bytes)
    stack = target.region(target.stack_bank)
    if region.start <= stack.start < region.end:
        return MemoryMap(flash, arena, arena)
    # Banks that adjoin count as one: the stack's must stop where the arena's begin.
    end = region.start if stack.start < region.start < stack.end else stack.end
    return MemoryMap(flash, Bank(stack.name, stack.start, end - stack.start), arena)


def _overflow_text(error: RegionOverflowError, name: str, target: Target, memory: MemoryMap) -> str:
    shared = memory.arena_shares_ram and not memory.banks
    places = {
        "FLASH": f"flash, which has {target.flash_bytes} bytes",
        "RAM": f"RAM, which has {memory.ram.bytes} bytes" if shared else "RAM for stack and variables",
        "ARENA": f"RAM for the arena (bank {memory.arena.name}), which has {memory.arena.bytes} bytes",
    }
    places |= {bank_region(field): f"the arena in bank {bank.name}, which has {bank.bytes} bytes" for field, bank in memory.banks}
    missing = "; ".join(f"{amount} bytes too many for {places[region]}" for region, amount in error.overflow.items())
    return f"{name} does not fit {target.name}: {missing}"
