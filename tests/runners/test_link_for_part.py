"""Linking for the real parts: memory lies where the part has it, and what is too large is refused with the amount."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_build import needs_gcc_arm

from tinyc.errors import DoesNotFitError, ToolError, UsageError
from tinyc.runners import link_for_part
from tinyc.runners.part import part_memory
from tinyc.targets import load_target, load_target_file
from tinyc.toolchains import find_gcc_arm

Build = Callable[..., Path]
PARTS = ("stm32f412", "stm32f746", "stm32f765", "stm32h743")


@needs_gcc_arm
@pytest.mark.parametrize("part", PARTS)
def test_the_image_for_a_part_lies_in_its_memory(build: Build, part: str) -> None:
    target = load_target(part)
    linked = link_for_part(build(part), target, stack_bytes=2048)
    symbols = find_gcc_arm().symbols(linked.elf)
    arena, stack = target.region(target.arena_bank), target.region(target.stack_bank)
    assert arena.start <= symbols["tinyc_arena"] <= arena.end - 77
    assert symbols["tinyc_arena"] % 16 == 0
    assert stack.start == symbols["_stack_start"]
    assert symbols["_stack_end"] - symbols["_stack_start"] == 2048
    assert symbols["tinyc_vectors"] == 0x08000000
    assert 0x08000000 < symbols["reverse_invoke"] < 0x08000000 + linked.size.flash
    assert linked.size.ram >= 2048 + 77
    assert [size.name for size in linked.network] == ["reverse.c.o", "reverse_weights.c.o"]


@needs_gcc_arm
@pytest.mark.parametrize("part", PARTS)
def test_an_arena_that_exactly_fills_the_ram_fits_and_one_byte_more_does_not(build: Build, part: str) -> None:
    target = load_target(part)
    shared = part_memory(target).arena_shares_ram
    largest = target.ram_bytes - (4096 if shared else 0)
    folder = build(part, arena_bytes=largest)
    assert link_for_part(folder, target).elf.is_file()
    for file in ("reverse.h", "report.json"):
        path = folder / file
        path.write_text(path.read_text().replace(str(largest), str(largest + 9)))
    where = "RAM, which has" if shared else "RAM for the arena"
    with pytest.raises(DoesNotFitError, match=f"reverse does not fit {part}: (9|12|16) bytes too many for {where}"):
        link_for_part(folder, target)


@needs_gcc_arm
def test_weights_larger_than_the_flash_are_refused_with_the_amount(build: Build) -> None:
    weights = "const uint8_t reverse_weights[1048576] = {1};"
    body = "int reverse_invoke(uint8_t *arena) { arena[64] = reverse_weights[arena[16]]; return 0; }\n"
    folder = build("stm32f412", weights=weights, body=body)
    with pytest.raises(DoesNotFitError, match=r"stm32f412: \d+ bytes too many for flash, which has 1048576 bytes"):
        link_for_part(folder, load_target("stm32f412"))
    assert link_for_part(folder, load_target("stm32h743")).size.flash > 1048576


@needs_gcc_arm
def test_the_targets_own_limit_is_kept_where_the_silicon_has_more(build: Build, tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    path.write_text('inherit = "stm32h743"\nname = "board"\nram_bytes = 1000\n')
    with pytest.raises(DoesNotFitError, match=r"board: .*which has 1000 bytes"):
        link_for_part(build("stm32h743", arena_bytes=1001), load_target_file(path))


def test_the_stack_region_ends_where_an_adjoining_arena_begins(tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    path.write_text('inherit = "stm32f746"\nname = "board"\narena_bank = "sram1"\nstack_bank = "dtcm"\n')
    memory = part_memory(load_target_file(path))
    assert (memory.ram.start, memory.ram.bytes) == (0x20000000, 65536)
    assert (memory.arena.start, memory.arena.bytes) == (0x20010000, 262144)


def test_the_host_is_no_part_to_link_for(build: Build) -> None:
    with pytest.raises(UsageError, match="no microcontroller"):
        link_for_part(build(), load_target("host"))


def test_a_missing_compiler_is_named_with_its_package(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError, match="gcc-arm-none-eabi"):
        link_for_part(build(), load_target("stm32f746"))
