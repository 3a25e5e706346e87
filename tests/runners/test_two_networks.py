"""Two networks in one firmware: nothing clashes, the runtime headers are the same, and one may interrupt the other and itself."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_build import needs_gcc_arm, needs_qemu

from tinyc.api import load
from tinyc.runners import read_description, run_build
from tinyc.runners.base import Array
from tinyc.runners.emulated import MACHINES
from tinyc.runners.image import MemoryMap, linker_script
from tinyc.targets import load_target
from tinyc.toolchains import find_gcc_arm, run_tool
from tinyc.toolchains.gcc_arm import DEFAULT_FLAGS
from tinyc.toolchains.runtime_files import runtime_directory

MODELS = Path(__file__).resolve().parents[3] / "shared" / "models"
NETWORKS = {"listen": "kws_ref_model.tflite", "watch": "ad01_int8.tflite"}
TARGET = "cortex-m4"

# `listen` is the first network, `watch` the second. Main runs the first while a timer interrupts it again and again and runs the second
# and, in a third arena, the first on another input.
FIRMWARE = """
#include <stdint.h>
#include <string.h>
#include "listen.h"
#include "watch.h"
#include "harness/text.h"
#include "harness/platform.h"
#include "startup/semihosting.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define TIMER_CONTROL REGISTER(0xE000E010u)
#define TIMER_RELOAD REGISTER(0xE000E014u)
#define TIMER_VALUE REGISTER(0xE000E018u)
#define VECTORS REGISTER(0xE000ED08u)
#define INTERRUPT_CONTROL REGISTER(0xE000ED04u)
#define FORGET_TIMER (1u << 25)
#define TICKS 6000u

int main(void);
int tinyc_harness_run(void);
extern const uint32_t tinyc_vectors[16];

static const int8_t first_inputs[2][LISTEN_INPUT_0_SIZE] = {@first_inputs@};
static const int8_t first_outputs[2][LISTEN_OUTPUT_0_SIZE] = {@first_outputs@};
static const int8_t second_input[WATCH_INPUT_0_SIZE] = {@second_inputs@};
static const int8_t second_output[WATCH_OUTPUT_0_SIZE] = {@second_outputs@};

static uint8_t main_arena[LISTEN_ARENA_SIZE] __attribute__((aligned(16)));
static uint8_t other_arena[LISTEN_ARENA_SIZE] __attribute__((aligned(16)));
static uint8_t second_arena[WATCH_ARENA_SIZE] __attribute__((aligned(16)));
static uint32_t vectors[16] __attribute__((aligned(128)));
static volatile int32_t interrupts, running, nested, wrong_first, wrong_second, wrong_main;

static int run_first(uint8_t *arena, int index)
{
    memcpy(listen_input_0(arena), first_inputs[index], LISTEN_INPUT_0_SIZE);
    return listen_invoke(arena) != 0 || memcmp(listen_output_0(arena), first_outputs[index], LISTEN_OUTPUT_0_SIZE) != 0;
}

static int run_second(void)
{
    memcpy(watch_input_0(second_arena), second_input, WATCH_INPUT_0_SIZE);
    return watch_invoke(second_arena) != 0 || memcmp(watch_output_0(second_arena), second_output, WATCH_OUTPUT_0_SIZE) != 0;
}

static void on_timer(void)
{
    interrupts = interrupts + 1;
    nested = nested + running;
    wrong_second = wrong_second + run_second();
    if (interrupts % 8 == 1) {
        wrong_first = wrong_first + run_first(other_arena, 1);
    }
    TIMER_VALUE = 0; /* the next interruption is a whole period after this one has ended */
    INTERRUPT_CONTROL = FORGET_TIMER;
}

int tinyc_harness_run(void)
{
    memcpy(vectors, tinyc_vectors, sizeof vectors);
    vectors[15] = (uint32_t)(uintptr_t)on_timer;
    VECTORS = (uint32_t)(uintptr_t)vectors;
    wrong_main = run_first(main_arena, 0) + run_second();
    TIMER_RELOAD = TICKS;
    TIMER_VALUE = 0;
    TIMER_CONTROL = 7;
    for (int round = 0; round < 3; round++) {
        running = 1;
        wrong_main = wrong_main + run_first(main_arena, round % 2);
        running = 0;
    }
    TIMER_CONTROL = 0;
    wrong_main = wrong_main + run_second();
    tinyc_text_begin("ok");
    tinyc_text_number("nested", nested);
    tinyc_text_number("wrong_main", wrong_main);
    tinyc_text_number("wrong_first", wrong_first);
    tinyc_text_number("wrong_second", wrong_second);
    tinyc_text_end();
    return 0;
}
"""

needs_models = pytest.mark.skipif(
    not all((MODELS / file).is_file() for file in NETWORKS.values()), reason="the shared models are not there"
)


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("networks")
    return {name: load(MODELS / file).compile(TARGET, name=name, measure=False).write(folder / name) for name, file in NETWORKS.items()}


def symbols(objects: list[Path]) -> set[str]:
    """Names that `objects` define for others."""
    lines = run_tool([find_gcc_arm().tool("nm"), "--defined-only", "--extern-only", *objects]).stdout.splitlines()
    return {line.split()[2] for line in lines if len(line.split()) == 3}


@needs_models
def test_headers_that_two_networks_share_are_the_same_bytes(builds: dict[str, Path]) -> None:
    first, second = ({path.name: path.read_bytes() for path in folder.glob("tinyc_*.h")} for folder in builds.values())
    assert set(first) & set(second)
    for name in set(first) & set(second):
        assert first[name] == second[name], name


@needs_models
@needs_gcc_arm
def test_every_name_that_a_network_exports_starts_with_its_own(builds: dict[str, Path], tmp_path: Path) -> None:
    exported = {}
    for name, folder in builds.items():
        objects = find_gcc_arm().compile(sorted(folder.glob("*.c")), tmp_path / name, load_target(TARGET).gcc_flags)
        exported[name] = symbols(objects)
        assert f"{name}_invoke" in exported[name]
        assert all(symbol.startswith(f"{name}_") for symbol in exported[name])
    assert not set.intersection(*exported.values())


@needs_models
@needs_qemu
def test_one_network_may_interrupt_the_other_and_itself(builds: dict[str, Path], tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    answers: dict[str, tuple[Array, Array]] = {}
    sources, target, gcc = [], load_target(TARGET), find_gcc_arm()
    include = tmp_path / "include"
    include.mkdir()
    text = FIRMWARE
    for role, folder in zip(("first", "second"), builds.values(), strict=True):
        shape = read_description(folder).inputs[0].shape
        inputs = generator.integers(-128, 128, (2 if role == "first" else 1, *shape)).astype(np.int8)
        outputs = run_build(folder, "qemu", {"input_0": inputs}).outputs["output_0"]
        answers[role] = inputs, outputs
        for kind, arrays in (("inputs", inputs), ("outputs", outputs)):
            rows = [", ".join(str(int(value)) for value in sample.ravel()) for sample in arrays]
            text = text.replace(f"@{role}_{kind}@", ", ".join(f"{{{row}}}" for row in rows) if role == "first" else rows[0])
        for path in (*folder.glob("*.c"), *folder.glob("*.h")):
            shutil.copy(path, include)
        sources += sorted(folder.glob("*.c"))
    assert not np.array_equal(answers["first"][1][0], answers["first"][1][1])
    main = tmp_path / "firmware.c"
    main.write_text(text)
    runtime, machine = runtime_directory(), MACHINES["cortex-m4"]
    around = ["startup/startup.c", "startup/semihosting.c", "harness/platform_emulator.c", "harness/text.c"]
    flags = [*DEFAULT_FLAGS, f"-I{include}", f"-I{runtime}", "-DTINYC_SEMIHOSTING=1"]
    objects = gcc.compile([main, *sources, *(runtime / name for name in around)], tmp_path / "objects", target.gcc_flags, flags)
    (tmp_path / "image.ld").write_text(linker_script(MemoryMap(machine.flash, machine.sram, machine.sram), 65536))
    elf = gcc.link(objects, tmp_path / "image.ld", tmp_path / "firmware.elf", target.gcc_flags)
    command = ["qemu-system-arm", "-M", machine.name, "-display", "none", "-monitor", "none", "-serial", "none", "-icount", "shift=0"]
    printed = run_tool(
        [*command, "-semihosting-config", "enable=on,target=native", "-kernel", elf], cwd=tmp_path, timeout_seconds=120
    ).stdout
    report: dict[str, Any] = dict(re.findall(r'"(\w+)": (\d+)', printed))
    assert int(report.pop("nested")) >= 20
    assert report == {"wrong_main": "0", "wrong_first": "0", "wrong_second": "0"}
