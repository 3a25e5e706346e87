"""Target files: the built-in ones describe their parts, and a wrong one is refused with what is allowed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tinyc.cli.targets import targets_command
from tinyc.errors import UsageError
from tinyc.targets import available_targets, load_target, load_target_file


def test_all_parts_and_generic_cores_are_built_in() -> None:
    assert available_targets() == ("cortex-m4", "cortex-m7", "host", "stm32f412", "stm32f746", "stm32f765", "stm32h743")


@pytest.mark.parametrize(
    ("name", "core", "fpu", "arena_start", "ram", "flash", "clock_mhz"),
    [
        ("stm32f412", "cortex-m4", "fpv4-sp-d16", 0x20000000, 256, 1024, 100),
        ("stm32f746", "cortex-m7", "fpv5-sp-d16", 0x20000000, 320, 1024, 216),
        ("stm32f765", "cortex-m7", "fpv5-d16", 0x20000000, 512, 1024, 216),
        ("stm32h743", "cortex-m7", "fpv5-d16", 0x24000000, 512, 2048, 480),
    ],
)
def test_a_part_has_the_memory_of_its_datasheet(
    name: str, core: str, fpu: str, arena_start: int, ram: int, flash: int, clock_mhz: int
) -> None:
    target = load_target(name)
    assert (target.core.name, target.fpu, target.clock_hz) == (core, fpu, clock_mhz * 1_000_000)
    assert target.region(target.arena_bank).start == arena_start
    assert (target.ram_bytes, target.flash_bytes) == (ram * 1024, flash * 1024)
    assert target.flash is not None
    assert target.flash.start == 0x08000000
    assert target.gcc_flags == (f"-mcpu={core}", "-mthumb", f"-mfpu={fpu}", "-mfloat-abi=hard")


def test_banks_that_adjoin_form_one_region_and_others_do_not() -> None:
    assert load_target("stm32f746").region("dtcm").bytes == 320 * 1024
    assert load_target("stm32f765").region("sram1").bytes == 384 * 1024
    assert load_target("stm32h743").region("d2").bytes == 288 * 1024


def test_an_unknown_bank_is_refused_with_the_banks_there_are() -> None:
    with pytest.raises(UsageError, match="banks: dtcm, axi, d2, d3"):
        load_target("stm32h743").region("sram9")


def test_an_unknown_target_is_refused_with_the_available_names() -> None:
    with pytest.raises(UsageError, match=r"unknown target 'stm32'.*stm32f412, stm32f746"):
        load_target("stm32")
    with pytest.raises(UsageError, match="unknown target"):
        load_target("../targets/stm32f412")


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "part.toml"
    path.write_text(text)
    return path


def test_a_user_file_inherits_what_it_does_not_say(tmp_path: Path) -> None:
    target = load_target_file(write(tmp_path, 'inherit = "stm32h743"\nname = "board"\nram_bytes = 200_000\n'))
    parent = load_target("stm32h743")
    assert (target.name, target.ram_bytes) == ("board", 200_000)
    assert (target.banks, target.flash_bytes, target.gcc_flags) == (parent.banks, parent.flash_bytes, parent.gcc_flags)


def test_choosing_another_arena_bank_moves_the_ram_limit_with_it(tmp_path: Path) -> None:
    target = load_target_file(write(tmp_path, 'inherit = "stm32h743"\nname = "board"\narena_bank = "d2"\n'))
    assert target.ram_bytes == 288 * 1024


def test_a_memory_map_of_its_own_does_not_inherit_limits_of_the_other_map(tmp_path: Path) -> None:
    text = 'inherit = "stm32f412"\nname = "board"\n[[banks]]\nname = "only"\nstart = 0x20000000\nbytes = 1000\n'
    target = load_target_file(write(tmp_path, text))
    assert (target.arena_bank, target.stack_bank, target.ram_bytes) == ("only", "only", 1000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "is not a TOML file"),
        ('inherit = "nothing"\nname = "x"', "available: cortex-m4"),
        ("inherit = 3", "must be the name of a built-in target"),
        ('inherit = "stm32f412"', "`name` is missing"),
        ('inherit = "stm32f412"\nname = "x"\nspeed = 3', "unknown key 'speed'; allowed: inherit, name"),
        ('inherit = "stm32f412"\nname = "x"\ncore = "cortex-m0"', "allowed: cortex-m4, cortex-m7, host"),
        ('inherit = "stm32f412"\nname = "x"\nfpu = "fpv5-d16"', "allowed: fpv4-sp-d16, none"),
        ('inherit = "stm32f412"\nname = "x"\nfpu = "none"', "does not go with float_abi 'hard'"),
        ('inherit = "stm32f412"\nname = "x"\nram_bytes = 300_000', "`ram_bytes` is 300000, but only 262144 bytes are there"),
        ('inherit = "stm32f412"\nname = "x"\nram_bytes = -1', "must be a whole number from 1"),
        ('inherit = "stm32f412"\nname = "x"\narena_bank = "ccm"', "allowed: sram1"),
        ('inherit = "stm32f412"\nname = "x"\nflash = 3', "exactly these keys: start, bytes"),
        ('inherit = "stm32f412"\nname = "x"\nbanks = 3', "must be an array of tables"),
        ('name = "x"\ncore = "cortex-m4"', "needs a `flash` table"),
        ('name = "x"\ncore = "host"', "needs `ram_bytes` and `flash_bytes`"),
        (
            'inherit = "stm32f412"\nname = "x"\n[[banks]]\nname = "a"\nstart = 0\nbytes = 9\n[[banks]]\nname = "b"\nstart = 8\nbytes = 9',
            "overlap",
        ),
        ('inherit = "stm32f412"\nname = "x"\n[[banks]]\nname = "a"\nstart = 0xfffffff0\nbytes = 17', "behind the last address"),
    ],
)
def test_a_wrong_target_file_is_refused_with_what_is_allowed(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_target_file(write(tmp_path, text))


def test_a_missing_target_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read target file"):
        load_target_file(tmp_path / "absent.toml")


def test_facts_survive_json() -> None:
    for name in available_targets():
        facts = load_target(name).facts()
        assert json.loads(json.dumps(facts)) == facts


def test_the_targets_verb_lists_every_target_as_a_table_and_as_json() -> None:
    table = CliRunner().invoke(targets_command, [])
    listing = CliRunner().invoke(targets_command, ["--json"])
    assert table.exit_code == listing.exit_code == 0
    assert [line.split()[0] for line in table.output.splitlines()[1:]] == list(available_targets())
    assert "216 MHz  320 kB" in table.output
    assert [entry["name"] for entry in json.loads(listing.output)] == list(available_targets())
