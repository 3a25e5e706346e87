"""What Unicorn adds to QEMU: every byte outside arena and stack is watched, for reading too; and it counts the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_build import needs_gcc_arm, needs_qemu, needs_unicorn, needs_zig

from tinyc.runners import RunnerError, run_build, unicorn
from tinyc.runners.description import read_description
from tinyc.runners.io import random_inputs

Build = Callable[..., Path]
SAMPLE = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
KWS = Path(__file__).resolve().parents[3] / "shared" / "models" / "kws_ref_model.tflite"

# Loops, IT blocks whose instructions are skipped, calls, multiplications and floating point; how often depends on the input.
MIXED = """
static __attribute__((noinline)) float half(float value) { return value * 0.5f; }
int reverse_invoke(uint8_t *arena)
{
    volatile float sum = 0.0f;
    int32_t count = 0;
    for (int32_t i = 0; i < 12; i++) {
        int32_t value = (int8_t)arena[16 + i];
        __asm__ volatile("cmp %1, #0\\n\\titte gt\\n\\taddgt %0, %0, %1\\n\\taddgt %0, %0, #1\\n\\tsuble %0, %0, #1"
                         : "+r"(count) : "r"(value) : "cc");
        sum = sum + half((float)value);
        for (int32_t k = 0; k < value; k++) {
            count += k * value;
        }
        arena[64 + i] = (uint8_t)count;
    }
    return sum > 1e9f;
}
""".replace("%%", "%")


def body(statement: str, before: str = "") -> str:
    return f"{before}\nint reverse_invoke(uint8_t *arena)\n{{\n    (void)arena;\n    {statement}\n    return 0;\n}}\n"


@needs_qemu
@needs_unicorn
@pytest.mark.parametrize("target", ["stm32f412", "stm32f746"])
def test_answers_counts_and_stack_are_those_of_qemu(build: Build, target: str) -> None:
    folder = build(target, body=MIXED)
    inputs = random_inputs(read_description(folder), 5, 3)
    in_qemu, in_unicorn = run_build(folder, "qemu", inputs), run_build(folder, "unicorn", inputs)
    np.testing.assert_array_equal(in_unicorn.outputs["output_0"], in_qemu.outputs["output_0"])
    assert in_unicorn.instructions_per_sample == in_qemu.instructions_per_sample
    assert len(set(in_unicorn.instructions_per_sample)) > 1
    assert in_unicorn.stack_bytes == in_qemu.stack_bytes


@needs_unicorn
def test_interruptions_of_the_run_change_no_count(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = build("stm32f746", body=MIXED)
    inputs = random_inputs(read_description(folder), 2, 5)
    whole = run_build(folder, "unicorn", inputs)
    monkeypatch.setattr(unicorn, "SLICE_INSTRUCTIONS", 97)
    in_slices = run_build(folder, "unicorn", inputs)
    assert in_slices.instructions_per_sample == whole.instructions_per_sample
    np.testing.assert_array_equal(in_slices.outputs["output_0"], whole.outputs["output_0"])


@needs_unicorn
@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "(void)*(volatile uint8_t *)(arena + 77);",
            "read outside its arena of 77 bytes: 0 bytes behind its end, in sample 0, in reverse_invoke",
        ),
        ("(void)*(volatile uint8_t *)(arena - 1);", "read outside its arena of 77 bytes: 1 bytes before its start"),
        ("(void)*(volatile uint32_t *)(arena + 74);", "read outside its arena of 77 bytes: 0 bytes behind its end"),
        ("*(volatile uint32_t *)(arena + 74) = 1;", "wrote outside its arena of 77 bytes: 0 bytes behind its end"),
        ("*(volatile uint8_t *)(arena + 100000) = 1;", "wrote outside its arena of 77 bytes: 99923 bytes behind its end"),
        ("*(volatile uint8_t *)0x20300000u = 1;", "wrote outside its arena of 77 bytes"),
        (
            'uint32_t sp; __asm__ volatile("mov %0, sp" : "=r"(sp)); *(volatile uint8_t *)(sp + 64) = 1;',
            "wrote outside its arena of 77 bytes: in the stack of its caller",
        ),
        ("*(volatile uint8_t *)(uintptr_t)reverse_weights = 1;", "write to flash, which is read-only in reverse_invoke"),
        ("((void (*)(void))0x30000001u)();", "instruction fetch from where there is no memory"),
    ],
)
def test_memory_that_is_not_the_networks_own_is_refused_with_place_and_function(build: Build, statement: str, message: str) -> None:
    with pytest.raises(RunnerError, match=message):
        run_build(build("stm32f746", body=body(statement)), "unicorn", {"input_0": SAMPLE})


@needs_unicorn
def test_a_variable_of_the_network_is_refused(build: Build) -> None:
    text = body("counter++;", "static volatile int counter;")
    with pytest.raises(RunnerError, match="outside its arena"):
        run_build(build("stm32f746", body=text), "unicorn", {"input_0": SAMPLE})


@needs_unicorn
def test_the_arena_its_last_bytes_and_the_stack_may_be_used(build: Build) -> None:
    text = body("volatile uint32_t local[8]; local[7] = 1; arena[0] = arena[76]; *(volatile uint32_t *)(arena + 73) = local[7];")
    assert run_build(build("stm32f746", body=text), "unicorn", {"input_0": SAMPLE}).samples == 1


@needs_unicorn
def test_a_load_in_an_it_block_next_to_forbidden_memory_leaves_no_condition_behind(build: Build) -> None:
    # Unicorn keeps the state of the IT block for the watcher's call, and would apply it to what follows the next indirect jump.
    code = "bl 1f; nop; nop; mov %0, #7; b 2f; 1: cmp %1, #0; itte ne; ldrbne %0, [%1]; addne %0, %0, #1; moveq %0, #3; bx lr; 2:"
    statement = f'uint32_t seven; __asm__ volatile("{code}" : "=&r"(seven) : "r"(arena + 76) : "lr", "cc"); arena[64] = (uint8_t)seven;'
    (output,) = run_build(build("stm32f746", body=body(statement)), "unicorn", {"input_0": SAMPLE}).outputs.values()
    assert output.flat[0] == 7


UNALIGNED = [
    'ldrd r2, r3, [%0]" : : "r"(p) : "r2", "r3"',
    'strd r2, r3, [%0, #8]" : : "r"(p) : "memory"',
    'ldmia %0, {r2, r3}" : : "r"(p) : "r2", "r3"',
    'stmia %0, {r2, r3}" : : "r"(p) : "memory"',
    'vldr s15, [%0]" : : "r"(p) : "s15"',
    'vstr s15, [%0]" : : "r"(p) : "memory"',
    'vldmia %0, {s14, s15}" : : "r"(p) : "s14", "s15"',
]


@needs_unicorn
@pytest.mark.parametrize("target", ["stm32f412", "stm32f746"])
def test_unaligned_accesses_fault_as_in_silicon(build: Build, target: str) -> None:
    cases = "\n".join(f'        case {number}: __asm__ volatile("{statement}); break;' for number, statement in enumerate(UNALIGNED))
    folder = build(target, body=body(f"uint8_t *p = arena + 32 + arena[17];\n    switch (arena[16]) {{\n{cases}\n    }}"))
    for number, statement in enumerate(UNALIGNED):
        sample = np.zeros((3, 4), np.int8)
        sample[0, 0] = number
        assert run_build(folder, "unicorn", {"input_0": sample}).samples == 1, statement
        for odd in (1, 2, 3):
            sample[0, 1] = odd
            with pytest.raises(RunnerError, match=r"unaligned access by an instruction that needs alignment in reverse_invoke \(pc 0x"):
                run_build(folder, "unicorn", {"input_0": sample})


@needs_unicorn
def test_single_loads_may_be_unaligned_and_skipped_instructions_do_not_fault(build: Build) -> None:
    skipped = '__asm__ volatile("cmp %0, %0\\n\\tit ne\\n\\tldrdne r2, r3, [%0]" : : "r"(arena + 1) : "r2", "r3", "cc");'
    text = body(f"arena[64] = (uint8_t)*(volatile uint32_t *)(arena + 17); {skipped}")
    assert run_build(build("stm32f746", body=text), "unicorn", {"input_0": SAMPLE}).outputs["output_0"][0, 0] == -5


@needs_unicorn
def test_the_command_repeats_the_run(build: Build) -> None:
    result = run_build(build("stm32f746"), "unicorn", {"input_0": np.stack([SAMPLE, SAMPLE])})
    expected = (result.cwd / "output.bin").read_bytes()
    (result.cwd / "output.bin").unlink()
    again = [sys.executable, "-c", "from tinyc.cli import main; main()", *result.command[1:]]
    subprocess.run(again, cwd=result.cwd, check=True, capture_output=True)
    assert (result.cwd / "output.bin").read_bytes() == expected


@needs_unicorn
@needs_zig
@needs_gcc_arm
@pytest.mark.parametrize("target", ["stm32f412", "stm32f746", "stm32h743"])
def test_zig_compiles_the_same_answers_as_gcc(build: Build, tmp_path: Path, target: str) -> None:
    folder = build(target, body=MIXED)
    inputs = random_inputs(read_description(folder), 3, 1)
    by_gcc, by_zig = (run_build(folder, "unicorn", inputs, tmp_path / name, toolchain=name) for name in ("gcc", "zig"))
    np.testing.assert_array_equal(by_zig.outputs["output_0"], by_gcc.outputs["output_0"])
    assert by_zig.instructions is not None


@needs_unicorn
@needs_zig
@pytest.mark.skipif(not KWS.is_file(), reason="the shared models are not there")
def test_without_any_tool_of_the_system_one_command_goes_from_a_model_to_a_verified_run(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name in ("HOME", "XDG_CACHE_HOME", "ZIG_GLOBAL_CACHE_DIR")}
    command = [sys.executable, "-c", "from tinyc.cli import main; main()", "verify", str(KWS), "-t", "cortex-m7", "--runner", "unicorn"]
    done = subprocess.run(command, env={**environment, "PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("equal: 24 output values of 2 samples, against interpreter")
    assert "instructions an inference" in done.stdout
