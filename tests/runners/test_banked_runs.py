"""Networks with several arenas: each lies in memory of its own with guard zones, in emulators, on this machine and on the part."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_build import HEADER, make_build, needs_gcc_arm, needs_native_compiler, needs_qemu, needs_unicorn

from tinyc.errors import DoesNotFitError, ModelError, UsageError
from tinyc.runners import RunnerError, link_for_part, read_description, run_build
from tinyc.runners.emulated import MACHINES, machine_banks
from tinyc.runners.part import part_memory
from tinyc.targets import load_target
from tinyc.toolchains import find_gcc_arm

SAMPLE = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
RUNNERS = [
    pytest.param("unicorn", "stm32h743", marks=needs_unicorn),
    pytest.param("qemu", "stm32h743", marks=needs_qemu),
    pytest.param("qemu", "cortex-m4", marks=needs_qemu),
    pytest.param("host", "host", marks=needs_native_compiler),
]
BANKED_HEADER = (
    HEADER.replace("#define REVERSE_ARENA_SIZE {arena_bytes}\n#define REVERSE_ARENA_ALIGN 16\n", "{macros}")
    .replace("#define REVERSE_INPUT_0", "typedef struct {{ uint8_t *fast; uint8_t *slow; }} reverse_arenas;\n#define REVERSE_INPUT_0", 1)
    .replace("uint8_t *arena", "const reverse_arenas *arenas")
)
BODY = """
int reverse_invoke(const reverse_arenas *arenas)
{
    for (int i = 0; i < 12; i++) {
        arenas->fast[64 + i] = arenas->slow[16 + 11 - i];
    }
    STATEMENT
    return 0;
}
"""


def banked_build(folder: Path, target: str, statement: str = "", sizes: tuple[int, int] = (77, 40), **changes: Any) -> Path:
    """A build that reverses its input, which lies in the bank `slow`, into the bank `fast`; on a part these are dtcm and axi."""
    names = ("fast", "slow") if target in ("host", "cortex-m4") else ("dtcm", "axi")
    arenas = [
        {"bank": bank, "field": field, "bytes": size, "align": 16} for bank, field, size in zip(names, ("fast", "slow"), sizes, strict=True)
    ]
    make_build(folder, target, BODY.replace("STATEMENT", statement))
    macros = "".join(
        f"#define REVERSE_ARENA_SIZE_{field} {size}\n#define REVERSE_ARENA_ALIGN_{field} 16\n"
        for field, size in zip(("FAST", "SLOW"), sizes, strict=True)
    )
    (folder / "reverse.h").write_text(BANKED_HEADER.format(macros=macros))
    report = json.loads((folder / "report.json").read_text())
    del report["arena"]
    report["inputs"][0]["bank"], report["outputs"][0]["bank"] = names[1], names[0]
    (folder / "report.json").write_text(json.dumps(report | {"arenas": arenas} | changes))
    return folder


@pytest.fixture
def banked(tmp_path: Path) -> Callable[..., Path]:
    def make(target: str = "stm32h743", statement: str = "", **options: Any) -> Path:
        return banked_build(tmp_path / "build", target, statement, **options)

    return make


@pytest.mark.parametrize(("runner", "target"), RUNNERS)
def test_inputs_and_outputs_are_found_in_their_banks(banked: Callable[..., Path], runner: str, target: str) -> None:
    found = run_build(banked(target), runner, {"input_0": np.stack([SAMPLE, SAMPLE + 1])}).outputs["output_0"]
    np.testing.assert_array_equal(found[0], SAMPLE.ravel()[::-1].reshape(3, 4))
    np.testing.assert_array_equal(found[1], (SAMPLE + 1).ravel()[::-1].reshape(3, 4))


@pytest.mark.parametrize(("runner", "target"), RUNNERS)
@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("arenas->fast[77] = 1;", "wrote outside its arena of 77 bytes in bank (dtcm|fast): 0 bytes behind its end, in sample 0"),
        (
            "arenas->slow[-1] = (uint8_t)(arenas->slow[-1] + 1);",
            "outside its arena of 40 bytes in bank (axi|slow): 1 bytes before its start",
        ),
    ],
)
def test_a_byte_outside_an_arena_is_found_and_its_bank_named(
    banked: Callable[..., Path], runner: str, target: str, statement: str, message: str
) -> None:
    with pytest.raises(RunnerError, match=message):
        run_build(banked(target, statement), runner, {"input_0": SAMPLE})


@needs_native_compiler
def test_reading_a_guard_zone_of_any_bank_is_found_on_the_host(banked: Callable[..., Path]) -> None:
    folder = banked("host", "arenas->fast[0] = arenas->slow[40];")
    with pytest.raises(RunnerError, match=r"AddressSanitizer|address"):
        run_build(folder, "host", {"input_0": SAMPLE}, sanitize=True)


@needs_unicorn
def test_what_lies_between_two_banks_is_forbidden_in_unicorn(banked: Callable[..., Path]) -> None:
    with pytest.raises(RunnerError, match="read outside its arena of 77 bytes in bank dtcm: 99923 bytes behind its end"):
        run_build(banked("stm32h743", "(void)*(volatile uint8_t *)(arenas->fast + 100000);"), "unicorn", {"input_0": SAMPLE})


def test_arenas_lie_far_apart_on_emulated_boards(banked: Callable[..., Path]) -> None:
    description = read_description(banked())
    for machine in MACHINES.values():
        (first, fast), (second, slow) = machine_banks(description, machine)
        assert (first, second) == ("fast", "slow")
        assert machine.psram.start == fast.start < fast.end <= slow.start < slow.end <= machine.psram.end


@needs_gcc_arm
def test_arenas_lie_in_the_banks_of_the_part(banked: Callable[..., Path]) -> None:
    target = load_target("stm32h743")
    symbols = find_gcc_arm().symbols(link_for_part(banked(), target).elf)
    assert target.bank("dtcm").start + 4096 <= symbols["tinyc_arena_fast"] < target.bank("dtcm").end
    assert symbols["_stack_start"] == target.bank("dtcm").start
    assert symbols["tinyc_arena_slow"] == target.bank("axi").start


@needs_gcc_arm
def test_a_bank_that_is_too_small_is_named_by_the_linker(banked: Callable[..., Path]) -> None:
    with pytest.raises(DoesNotFitError, match="16 bytes too many for the arena in bank axi, which has 524288 bytes"):
        link_for_part(banked(sizes=(77, 524288 + 16)), load_target("stm32h743"))


def test_a_network_in_one_chosen_bank_is_linked_there(tmp_path: Path) -> None:
    folder = make_build(tmp_path / "build", "stm32h743")
    report = json.loads((folder / "report.json").read_text())
    del report["arena"]
    (folder / "report.json").write_text(json.dumps(report | {"arenas": [{"bank": "d2", "bytes": 77, "align": 16}]}))
    memory = part_memory(load_target("stm32h743"), read_description(folder).arenas)
    assert (memory.arena.name, memory.ram.name, memory.banks) == ("d2", "dtcm", ())


def test_a_bank_that_the_part_does_not_have_is_refused(banked: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="target stm32f412 has no RAM bank 'dtcm'"):
        part_memory(load_target("stm32f412"), read_description(banked()).arenas)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arenas": []}, "`arenas` must be an array with at least one entry"),
        ({"arenas": [{"bank": "dtcm", "field": "fast", "bytes": 77, "align": 16}] * 2}, "must lie in different banks"),
        ({"arenas": [{"bank": "a;b", "field": "fast", "bytes": 77, "align": 16}]}, r"`arenas\[0\].bank` must be a C identifier"),
        (
            {"arenas": [{"bank": "dtcm", "field": "x y", "bytes": 7, "align": 16}, {"bank": "axi", "field": "b", "bytes": 7, "align": 16}]},
            r"`arenas\[0\].field` must be a C identifier",
        ),
        (
            {"arenas": [{"bank": "dtcm", "field": "a", "bytes": 77, "align": 16}, {"bank": "d2", "field": "b", "bytes": 40, "align": 16}]},
            r"`inputs\[0\].bank` must be one of dtcm, d2",
        ),
        (
            {"arenas": [{"bank": "dtcm", "field": "a", "bytes": 77, "align": 16}, {"bank": "axi", "field": "b", "bytes": 20, "align": 16}]},
            r"`inputs\[0\]` must end inside the arena of 20 bytes",
        ),
    ],
)
def test_a_damaged_account_of_arenas_is_refused(banked: Callable[..., Path], change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_description(banked(**change))
