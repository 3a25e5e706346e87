"""Runs of small hand-written networks: answers, exact counts, stack, and everything that can go wrong while they run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_build import needs_native_compiler, needs_qemu, needs_unicorn

from tinyc.errors import DoesNotFitError, ToolError, UsageError
from tinyc.runners import RunnerError, run_build

Build = Callable[..., Path]
SAMPLE = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
ON_EACH_RUNNER = pytest.mark.parametrize(
    ("runner", "target"),
    [
        pytest.param("qemu", "stm32f412", marks=needs_qemu, id="m4"),
        pytest.param("qemu", "stm32f765", marks=needs_qemu, id="m7"),
        pytest.param("unicorn", "stm32f412", marks=needs_unicorn, id="unicorn-m4"),
        pytest.param("unicorn", "stm32f765", marks=needs_unicorn, id="unicorn-m7"),
        pytest.param("host", "stm32f412", marks=needs_native_compiler, id="host"),
    ],
)

ON_EACH_EMULATOR = pytest.mark.parametrize("runner", [pytest.param("qemu", marks=needs_qemu), pytest.param("unicorn", marks=needs_unicorn)])

# `rounds` times round a loop of two instructions, and nothing else that depends on it.
COUNTED = """
int reverse_invoke(uint8_t *arena)
{
    uint32_t rounds = (uint32_t)arena[16] * 100u + 1u;
    __asm__ volatile("1: subs %%0, #1\\n\\tbne 1b" : "+r"(rounds) : : "cc");
    return 0;
}
""".replace("%%", "%")
DEEP = """
static __attribute__((noinline)) int use(volatile uint8_t *bytes) { bytes[0] = 1; return bytes[0]; }
int reverse_invoke(uint8_t *arena)
{
    volatile uint8_t frame[BYTES];
    (void)arena;
    return use(frame) - 1;
}
"""
FILL = "int reverse_invoke(uint8_t *arena) { memset(arena + (FROM), 0, LENGTH); return 0; }\n"


@ON_EACH_RUNNER
def test_one_sample_gives_outputs_of_the_c_shape(build: Build, runner: str, target: str) -> None:
    folder = build(target)
    result = run_build(folder, runner, {"input_0": SAMPLE})
    assert (result.runner, result.samples) == (runner, 1)
    assert result.outputs["output_0"].dtype == np.int8
    np.testing.assert_array_equal(result.outputs["output_0"], SAMPLE.ravel()[::-1].reshape(3, 4))
    assert result.elf.is_file()
    assert result.elf.parent == (folder / f"run-{runner}").resolve()


@ON_EACH_RUNNER
def test_samples_are_written_afresh_although_the_network_overwrites_its_input(build: Build, runner: str, target: str) -> None:
    samples = np.stack([SAMPLE, SAMPLE * 2, SAMPLE])
    result = run_build(build(target), runner, {"input_0": samples})
    assert result.samples == 3
    np.testing.assert_array_equal(result.outputs["output_0"], samples.reshape(3, 12)[:, ::-1].reshape(3, 3, 4))


@ON_EACH_RUNNER
def test_a_result_that_depends_on_old_arena_bytes_does_not_survive(build: Build, runner: str, target: str) -> None:
    body = "int reverse_invoke(uint8_t *arena) { arena[64]++; return 0; }\n"
    result = run_build(build(target, body=body), runner, {"input_0": np.stack([SAMPLE, SAMPLE])})
    first, second = result.outputs["output_0"]
    assert first[0, 0] == second[0, 0] == np.uint8(0xA6).view(np.int8)


@ON_EACH_EMULATOR
@pytest.mark.parametrize("target", ["stm32f412", "stm32f746"])
def test_instruction_counts_are_exact_and_repeatable(build: Build, target: str, runner: str) -> None:
    samples = np.zeros((4, 3, 4), dtype=np.int8)
    samples[:, 0, 0] = [0, 10, 0, 7]
    folder = build(target, body=COUNTED)
    result = run_build(folder, runner, {"input_0": samples})
    first = result.instructions_per_sample[0]
    assert [count - first for count in result.instructions_per_sample] == [0, 2000, 0, 1400]
    assert first <= 16
    assert result.instructions == first + 1400
    assert any("differ between samples" in note for note in result.notes)
    assert run_build(folder, runner, {"input_0": samples}).instructions_per_sample == result.instructions_per_sample


@needs_qemu
def test_the_count_agrees_with_a_count_of_single_steps(build: Build) -> None:
    result = run_build(build("stm32f746"), "qemu", {"input_0": SAMPLE})
    trace = result.cwd / "trace.txt"
    end = result.command.index("-plugin")
    one_by_one = [*result.command[:end], "-singlestep", "-d", "exec,nochain", "-D", str(trace)]
    if subprocess.run(one_by_one, cwd=result.cwd, check=False, capture_output=True).returncode != 0:
        pytest.skip("this QEMU has no -singlestep")
    addresses = [line.split("[")[1].split("/")[1] for line in trace.read_text().splitlines() if line.startswith("Trace")]
    options = dict(option.split("=") for option in result.command[end + 1].split(",")[1:])
    begin, stop = (addresses.index(f"{int(options[key], 16):08x}") for key in ("begin", "end"))
    assert result.instructions == stop - begin


@needs_qemu
def test_the_command_repeats_the_run_by_hand_with_further_options(build: Build) -> None:
    result = run_build(build("stm32f746"), "qemu", {"input_0": SAMPLE})
    output = result.cwd / "output.bin"
    expected = output.read_bytes()
    output.unlink()
    again = subprocess.run([*result.command, "-icount", "shift=0"], cwd=result.cwd, check=True, capture_output=True, text=True)
    assert output.read_bytes() == expected
    assert again.stdout.startswith('{"status": "ok", "samples": 1')
    assert int((result.cwd / "instructions.txt").read_text()) == result.instructions


@ON_EACH_RUNNER
def test_the_stack_is_measured_to_within_a_few_words(build: Build, tmp_path: Path, runner: str, target: str) -> None:
    folder = build(target, body=DEEP.replace("BYTES", "1000"))
    small = run_build(folder, runner, {"input_0": SAMPLE}).stack_bytes
    source = folder / "reverse.c"
    source.write_text(source.read_text().replace("1000", "5000"))
    large = run_build(folder, runner, {"input_0": SAMPLE}).stack_bytes
    assert small is not None
    assert large is not None
    assert 1000 <= small <= 1100
    assert large - small == 4000


@ON_EACH_RUNNER
@pytest.mark.parametrize(
    ("start", "length", "place"),
    [("77", "1", "0 bytes behind its end"), ("-1", "1", "1 bytes before its start"), ("100", "8", "23 bytes behind its end")],
)
def test_one_byte_written_outside_the_arena_is_found(build: Build, runner: str, target: str, start: str, length: str, place: str) -> None:
    folder = build(target, body=FILL.replace("FROM", start).replace("LENGTH", length))
    with pytest.raises(RunnerError, match=f"wrote outside its arena of 77 bytes: {place}, in sample 0"):
        run_build(folder, runner, {"input_0": SAMPLE})


@ON_EACH_RUNNER
def test_writing_the_whole_arena_is_no_violation(build: Build, runner: str, target: str) -> None:
    folder = build(target, body=FILL.replace("FROM", "0").replace("LENGTH", "77"))
    assert not run_build(folder, runner, {"input_0": SAMPLE}).outputs["output_0"].any()


@ON_EACH_RUNNER
def test_a_network_that_reports_failure_is_an_error(build: Build, runner: str, target: str) -> None:
    body = "int reverse_invoke(uint8_t *arena) { return arena[16] == 1 ? -7 : 0; }\n"
    with pytest.raises(RunnerError, match="returned -7 for sample 1"):
        run_build(build(target, body=body), runner, {"input_0": np.stack([SAMPLE * 0, SAMPLE * 0 + 1])})


@ON_EACH_RUNNER
def test_a_network_that_does_not_end_is_stopped(build: Build, runner: str, target: str) -> None:
    body = "int reverse_invoke(uint8_t *arena) { volatile uint8_t *a = arena; for (;;) { a[0]++; } }\n"
    with pytest.raises(RunnerError, match="did not end within 1 seconds"):
        run_build(build(target, body=body), runner, {"input_0": SAMPLE}, timeout_seconds=1)


@ON_EACH_EMULATOR
@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("*(volatile uint32_t *)0xF0000000u = 1;", r"access to where there is no memory in reverse_invoke \(pc 0x"),
        ('__asm__ volatile("udf #0");', "undefined instruction in reverse_invoke"),
        ('__asm__ volatile("ldrd r2, r3, [%0]" : : "r"(arena + 1) : "r2", "r3");', "unaligned access .*in reverse_invoke"),
    ],
)
def test_a_fault_names_its_cause_and_function(build: Build, statement: str, message: str, runner: str) -> None:
    body = f"int reverse_invoke(uint8_t *arena) {{ (void)arena; {statement} return 0; }}\n"
    with pytest.raises(RunnerError, match=message):
        run_build(build("stm32f746", body=body), runner, {"input_0": SAMPLE})


@ON_EACH_EMULATOR
def test_a_full_stack_is_reported_as_that(build: Build, runner: str) -> None:
    body = """
    static int down(volatile uint8_t *above, int depth)
    {
        volatile uint8_t frame[4096];
        frame[0] = above[0];
        return depth == 0 ? 0 : down(frame, depth - 1) + frame[0];
    }
    int reverse_invoke(uint8_t *arena) { return down(arena, 1000); }
    """
    with pytest.raises(RunnerError, match="faulted: the stack is full"):
        run_build(build("stm32f746", body=body), runner, {"input_0": SAMPLE})


@needs_native_compiler
def test_a_crash_on_the_host_is_reported_with_its_signal(build: Build) -> None:
    body = "int reverse_invoke(uint8_t *arena) { volatile uint8_t *nowhere = (volatile uint8_t *)8; (void)arena; return *nowhere; }\n"
    with pytest.raises(RunnerError, match="killed by signal 11"):
        run_build(build(body=body), "host", {"input_0": SAMPLE})


@ON_EACH_EMULATOR
def test_a_model_and_arena_of_megabytes_run(build: Build, runner: str) -> None:
    arena_bytes = 4_500_000
    body = "int reverse_invoke(uint8_t *arena) { memset(arena, reverse_weights[2499999], REVERSE_ARENA_SIZE); return 0; }\n"
    weights = "const uint8_t reverse_weights[2500000] = {[2499999] = 7};"
    for target in ("stm32f412", "stm32f746"):
        folder = build(target, body=body, weights=weights, arena_bytes=arena_bytes)
        assert (run_build(folder, runner, {"input_0": SAMPLE}).outputs["output_0"] == 7).all()
        shutil.rmtree(folder)


@ON_EACH_EMULATOR
def test_what_is_too_large_for_the_emulated_board_does_not_fit(build: Build, runner: str) -> None:
    with pytest.raises(DoesNotFitError, match="too large for the emulated board mps2-an500"):
        run_build(build("stm32f746", arena_bytes=20_000_000), runner, {"input_0": SAMPLE})


@ON_EACH_RUNNER
def test_changed_sources_are_compiled_again_and_unchanged_ones_are_not(build: Build, runner: str, target: str) -> None:
    folder = build(target)
    first = run_build(folder, runner, {"input_0": SAMPLE})
    made = first.elf.stat().st_mtime_ns
    assert run_build(folder, runner, {"input_0": SAMPLE}).elf.stat().st_mtime_ns == made
    source = folder / "reverse.c"
    source.write_text(source.read_text().replace("64 + i] =", "64 + i] = (uint8_t)~"))
    changed = run_build(folder, runner, {"input_0": SAMPLE})
    np.testing.assert_array_equal(changed.outputs["output_0"], ~first.outputs["output_0"])


@ON_EACH_RUNNER
@pytest.mark.parametrize("name", ["harness", "text", "main"])
def test_a_network_may_be_called_like_a_file_of_the_harness(build: Build, runner: str, target: str, name: str) -> None:
    folder = build(target)
    for path in list(folder.iterdir()):
        text = path.read_text().replace("reverse", name).replace("REVERSE", name.upper())
        path.unlink()
        (folder / path.name.replace("reverse", name)).write_text(text)
    assert run_build(folder, runner, {"input_0": SAMPLE}).outputs["output_0"][0, 0] == 5


@ON_EACH_RUNNER
def test_a_header_that_contradicts_the_report_is_refused(build: Build, runner: str, target: str) -> None:
    folder = build(target)
    header = folder / "reverse.h"
    header.write_text(header.read_text().replace("OUTPUT_0_OFFSET 64", "OUTPUT_0_OFFSET 60"))
    with pytest.raises(ToolError, match="output_0_agrees"):
        run_build(folder, runner, {"input_0": SAMPLE})


@needs_qemu
def test_without_a_compiler_for_this_machine_the_count_is_absent_and_noted(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_zig: None
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("arm-none-eabi-gcc", "arm-none-eabi-nm", "arm-none-eabi-objdump", "qemu-system-arm"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(tools))
    result = run_build(build("stm32f746"), "qemu", {"input_0": SAMPLE})
    assert (result.instructions, result.instructions_per_sample) == (None, ())
    assert any("package gcc" in note for note in result.notes)
    assert result.outputs["output_0"][0, 0] == 5


@needs_qemu
def test_a_qemu_without_plugins_still_runs_and_says_why_nothing_is_counted(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper = tmp_path / "qemu-system-arm"
    wrapper.write_text(
        '#!/bin/sh\ncase "$*" in *-plugin*) echo "-plugin: invalid option" >&2; exit 1;; esac\n'
        f'exec {shutil.which("qemu-system-arm")} "$@"\n'
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    result = run_build(build("stm32f746"), "qemu", {"input_0": SAMPLE})
    assert result.instructions is None
    assert any("invalid option" in note for note in result.notes)
    assert "-plugin" not in result.command
    assert result.outputs["output_0"][0, 0] == 5


@pytest.mark.parametrize(
    ("runner", "package"),
    [
        ("qemu", "qemu-system-arm"),
        ("host", "package gcc; or, without root: .*pip install ziglang"),
        ("unicorn", r"pip install 'tinyc\[emulator\]'"),
        ("renode", "github.com/renode/renode/releases"),
    ],
)
def test_a_missing_tool_is_named_with_its_package(
    build: Build, monkeypatch: pytest.MonkeyPatch, without_zig: None, runner: str, package: str
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "unicorn", None)
    with pytest.raises(ToolError, match=package):
        run_build(build("stm32f746"), runner, {"input_0": SAMPLE})


def test_an_unknown_runner_is_refused_with_the_known_ones(build: Build) -> None:
    with pytest.raises(UsageError, match="available: qemu, unicorn, renode, host"):
        run_build(build(), "board", {"input_0": SAMPLE})


@pytest.mark.parametrize("runner", ["qemu", "unicorn"])
def test_a_build_for_the_host_does_not_go_to_an_emulator(build: Build, runner: str) -> None:
    with pytest.raises(UsageError, match="--runner host"):
        run_build(build("host"), runner, {"input_0": SAMPLE})


@needs_native_compiler
def test_a_work_folder_of_the_callers_choice_is_used(build: Build, tmp_path: Path) -> None:
    result = run_build(build("host"), "host", {"input_0": SAMPLE}, work_dir=tmp_path / "elsewhere")
    assert result.cwd == (tmp_path / "elsewhere").resolve()
    assert result.notes != ()
    assert not (tmp_path / "build" / "run-host").exists()


@needs_native_compiler
def test_a_build_folder_that_cannot_be_written_is_run_elsewhere_with_a_note(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = build("host")
    (folder / "run-host").write_text("a file where the folder should be")
    result = run_build(folder, "host", {"input_0": SAMPLE})
    assert any(f"the files of the run are in {result.cwd}" in note for note in result.notes)
    assert folder not in result.cwd.parents


def test_a_work_folder_that_cannot_be_made_is_refused(build: Build, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolError, match="cannot use work folder"):
        run_build(build("host"), "host", {"input_0": SAMPLE}, work_dir=tmp_path / "file" / "below")
