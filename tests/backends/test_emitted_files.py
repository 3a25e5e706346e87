"""What the emitter writes: the same every time, and in agreement with the report."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from support.host_network import compile_for_host
from support.network_builder import NetworkBuilder
from tinyc.backends.cortexm.calls import resize_scratch
from tinyc.backends.cortexm.program import build_program
from tinyc.driver.compile import compile_module, network_boundary
from tinyc.driver.pipeline import CompileOptions
from tinyc.errors import DoesNotFitError, PassError, UsageError
from tinyc.ir.mcu import BufferOp
from tinyc.ir.text import print_module
from tinyc.numerics.profile import Profile
from tinyc.passes.registry import Insertion
from tinyc.targets import load_target

GOLDEN = Path(__file__).parent / "golden"


def tiny_network() -> ModuleOp:
    """An inverted bottleneck, streamed, with a classifier: every form of a step but one in place."""
    builder = NetworkBuilder(15)
    image = builder.input((1, 6, 6, 2))
    wide = builder.depthwise(builder.conv(image, 8, clamp=(3, 127)))
    summed = builder.add(builder.conv(wide, 2), image)
    return builder.finish(builder.softmax(builder.fully_connected(summed, 3)))


def generated(module: ModuleOp, profile: Profile = Profile.LITERT, target: str = "cortex-m4", name: str = "tiny") -> dict[str, str]:
    return compile_module(module, name, load_target(target), CompileOptions(profile, measure=False)).files


@pytest.mark.parametrize("profile", [Profile.LITERT, Profile.TFLM])
@pytest.mark.parametrize("file", ["tiny.c", "tiny.h", "tiny_weights.c"])
def test_the_c_of_a_tiny_network_is_as_recorded(profile: Profile, file: str, update_golden: bool) -> None:
    text = generated(tiny_network(), profile)[file]
    recorded = GOLDEN / f"{profile.value}_{file}"
    if update_golden:
        GOLDEN.mkdir(exist_ok=True)
        recorded.write_text(text, encoding="utf-8")
    assert recorded.is_file(), "run pytest with --update-golden"
    assert text == recorded.read_text(encoding="utf-8"), "generated C changed; look at the difference, then run pytest with --update-golden"


def test_files_do_not_depend_on_the_hash_seed() -> None:
    program = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from test_emitted_files import generated, tiny_network
for name, text in generated(tiny_network()).items():
    print(name, hashlib.sha256(text.encode()).hexdigest())
"""
    here = Path(__file__).resolve().parent
    results = []
    for seed in ("0", "1", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(here.parent)}
        done = subprocess.run([sys.executable, "-c", program, str(here)], capture_output=True, text=True, env=environment, check=True)
        results.append(done.stdout)
    assert results[0].count("\n") >= 6
    assert len(set(results)) == 1


def test_compiling_leaves_the_module_as_it_was_and_gives_the_same_again() -> None:
    module = tiny_network()
    before = print_module(module, print_weights=True)
    assert generated(module) == generated(module)
    assert print_module(module, print_weights=True) == before


def test_header_macros_say_what_the_boundary_is() -> None:
    builder = NetworkBuilder(16)
    first, second = builder.input((1, 5, 4, 3), 0.125, -7), builder.float_input((1, 6))
    network = compile_for_host(
        builder.finish(builder.conv(first, 2), second, builder.clamp(first, (-5, 9))), name="two", keep_float_io=True
    )
    header = network.files["two.h"]
    macros = dict(re.findall(r"^#define (TWO_\w+) (.+)$", header, re.MULTILINE))
    assert macros["TWO_ARENA_SIZE"] == str(network.report.ram.arena_bytes)
    assert macros["TWO_INPUT_0_DIMS"] == "{ 1, 5, 4, 3 }"
    assert macros["TWO_INPUT_0_RANK"] == "4"
    assert macros["TWO_INPUT_0_SIZE"] == "60"
    assert float.fromhex(macros["TWO_INPUT_0_SCALE"].rstrip("f")) == 0.125
    assert macros["TWO_INPUT_0_ZERO_POINT"] == "(-7)"
    assert macros["TWO_INPUT_1_SIZE"] == "24"
    assert "TWO_INPUT_1_SCALE" not in macros
    for region in network_boundary(network.module):
        assert macros[f"TWO_{region.macro}_OFFSET"] == str(region.offset)
        assert region.offset + region.bytes <= network.report.ram.arena_bytes
    assert {name for name in macros if name.endswith("_DIMS")} == {
        f"TWO_{kind}_DIMS" for kind in ("INPUT_0", "INPUT_1", "OUTPUT_0", "OUTPUT_1", "OUTPUT_2")
    }
    assert "float *two_input_1(uint8_t *arena)" in header
    assert "int two_invoke(uint8_t *arena);" in header


@pytest.mark.parametrize("profile", [Profile.LITERT, Profile.TFLM])
def test_tables_are_declared_and_defined_with_the_length_that_they_have(profile: Profile) -> None:
    network = compile_for_host(tiny_network(), profile)
    array = re.compile(r"const (\w+) (\w+)\[(\d+)\]")
    declared = array.findall(network.files["net_weights.h"])
    defined = array.findall(network.files["net_weights.c"])
    assert declared == defined
    assert len(declared) >= 6
    bodies = re.findall(r"\] = \{\n(.*?)\n\};", network.files["net_weights.c"], re.DOTALL)
    views = build_program(network.module, "net").tables
    total = 0
    for (c_type, symbol, length), body, view in zip(defined, bodies, views, strict=True):
        assert symbol == view.symbol
        entries = (
            body.count("{") if c_type.startswith("tinyc_") else len([entry for entry in body.replace("\n", "").split(",") if entry.strip()])
        )
        assert entries == int(length) > 0
        total += view.table.size_bytes
    assert total == network.report.flash.weights_bytes


def test_every_generated_file_is_text_without_odd_characters() -> None:
    for text in generated(tiny_network()).values():
        assert text.isascii()
        assert "\t" not in text
        assert "\r" not in text
        assert text.endswith("\n")


def test_equal_layers_share_one_kernel_body() -> None:
    builder = NetworkBuilder(17)
    value = builder.input((1, 8, 8, 4), 0.05, 0)
    for _ in range(4):
        value = builder.pool(value, False, (3, 3), (1, 1), (1, 1, 1, 1))
    text = compile_for_host(builder.finish(value)).files["net.c"]
    assert len(re.findall(r"^static void net_max_pool\w*\(", text, re.MULTILINE)) == 1


def test_a_network_that_does_not_fit_says_by_how_much_and_which_layer() -> None:
    builder = NetworkBuilder(18)
    wide = builder.conv(builder.input((1, 512, 512, 3)), 4)
    module = builder.finish(wide)
    with pytest.raises(DoesNotFitError) as caught:
        compile_module(module, "big", load_target("stm32f412"), CompileOptions(measure=False))
    found = re.fullmatch(
        r"big does not fit stm32f412: RAM: needs (\d+) bytes, stm32f412 has (\d+): (\d+) too many; the peak is set by step 0, CONV_2D \S+",
        str(caught.value),
    )
    assert found, caught.value
    needs, has, excess = map(int, found.groups())
    assert needs - has == excess > 0
    assert caught.value.exit_code == 3


def test_weights_that_do_not_fit_the_flash_are_counted() -> None:
    builder = NetworkBuilder(19)
    module = builder.finish(builder.fully_connected(builder.input((1, 1100)), 1000))
    with pytest.raises(DoesNotFitError, match=r"flash: needs \d+ bytes, stm32f412 has 1048576: \d+ too many, \d+ are weights"):
        compile_module(module, "heavy", load_target("stm32f412"), CompileOptions(measure=False))


@pytest.mark.parametrize("passes", ["canonicalize", "select-kernels", ""])
def test_a_pipeline_that_plans_nothing_is_a_usage_error(passes: str) -> None:
    with pytest.raises(UsageError, match="must contain select-kernels and plan-memory"):
        compile_for_host(tiny_network(), passes=passes)


def test_a_constant_output_is_refused() -> None:
    builder = NetworkBuilder(20)
    image = builder.input((1, 4))
    module = builder.finish(builder.clamp(image, (0, 1)), builder.constant(np.arange(4, dtype=np.int8), 0.5))
    with pytest.raises(PassError, match="is constant"):
        compile_for_host(module)


@dataclass(frozen=True)
class ShrinkScratch(ModulePass):
    """A pass with a mistake: it leaves kernels less scratch than they use."""

    name = "shrink-scratch"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for buffer in op.ops:
            if isinstance(buffer, BufferOp) and buffer.kind.data == "scratch":
                resize_scratch(buffer, 1)


def test_a_pass_that_leaves_too_little_scratch_is_an_error_and_not_wrong_c() -> None:
    builder = NetworkBuilder(21)
    module = builder.finish(builder.conv(builder.input((1, 8, 8, 4)), 4, (3, 3)))
    insertion = Insertion(False, "plan-memory", ShrinkScratch())
    with pytest.raises(PassError, match=r"ConvSpec needs \d+ bytes of scratch, the passes left 8"):
        compile_module(module, "net", load_target("cortex-m4"), CompileOptions(measure=False), [insertion])
