"""Networks with an arena in each of several RAM banks, as C on this machine, against the interpreter; and how they are called wrongly."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp

from support.host_network import DTYPES, GUARD_BYTES, build_library, needs_gcc
from support.network_builder import Network, NetworkBuilder, networks, random_inputs
from tinyc.backends.cortexm.emit import ARENA_ALIGNMENT
from tinyc.backends.cortexm.program import arena_views
from tinyc.driver.compile import CompiledNetwork, compile_module, network_boundary
from tinyc.driver.pipeline import CompileOptions
from tinyc.errors import DoesNotFitError, UsageError
from tinyc.interpreter.evaluate import evaluate
from tinyc.numerics.profile import Profile
from tinyc.runners.base import Array
from tinyc.targets import load_target
from tinyc.targets.banks import BankBudget, parse_banks

pytestmark = pytest.mark.skipif(needs_gcc() is not None, reason="needs gcc")


def compiled(module: ModuleOp, banks: str, profile: Profile = Profile.LITERT) -> CompiledNetwork:
    host = load_target("host")
    return compile_module(module, "net", host, CompileOptions(profile, measure=False, banks=parse_banks(banks, host)))


class _Memory:
    """An arena of garbage between guard zones."""

    def __init__(self, size: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.memory = random.integers(0, 256, size + 2 * GUARD_BYTES + ARENA_ALIGNMENT).astype(np.uint8)
        self.start = GUARD_BYTES + -(self.memory.ctypes.data + GUARD_BYTES) % ARENA_ALIGNMENT
        self.address = self.memory.ctypes.data + self.start
        self.bytes = self.memory[self.start : self.start + size]
        self.before = self._outside()

    def _outside(self) -> Array:
        return np.delete(self.memory, np.s_[self.start : self.start + len(self.bytes)])

    def check(self) -> None:
        np.testing.assert_array_equal(self._outside(), self.before, err_msg="bytes outside an arena were written")


class _BankedNetwork:
    """The library of a network with several arenas, each in memory of its own."""

    def __init__(self, network: CompiledNetwork, folder: Path) -> None:
        self.arenas = arena_views(network.module)
        self.regions = network_boundary(network.module)
        self.memories = {arena.bank: _Memory(arena.bytes, seed) for seed, arena in enumerate(self.arenas)}
        self.function = getattr(build_library(network, folder), f"{network.name}_invoke")
        self.function.argtypes, self.function.restype = [ctypes.c_void_p], ctypes.c_int

    def addresses(self) -> list[int]:
        return [self.memories[arena.bank].address for arena in self.arenas]

    def call(self, addresses: Sequence[int | None]) -> int:
        struct = (ctypes.c_void_p * len(addresses))(*addresses)
        return int(self.function(ctypes.addressof(struct)))

    def infer(self, inputs: Sequence[Array]) -> list[Array]:
        for region, values in zip([region for region in self.regions if region.is_input], inputs, strict=True):
            arena = self.memories[region.bank].bytes
            arena[region.offset : region.offset + region.bytes] = np.ascontiguousarray(values).view(np.uint8).ravel()
        assert self.call(self.addresses()) == 0
        outputs = []
        for region in self.regions:
            if not region.is_input:
                data = self.memories[region.bank].bytes[region.offset : region.offset + region.bytes]
                outputs.append(data.view(DTYPES[region.element]).reshape(region.dims).copy())
        for memory in self.memories.values():
            memory.check()
        return outputs


def test_random_networks_compute_what_the_interpreter_does() -> None:
    several = []

    @settings(max_examples=12, deadline=None, database=None, derandomize=True)
    @given(networks(10), st.integers(1, 6), st.sampled_from([Profile.LITERT, Profile.TFLM]))
    def check(network: Network, eighths: int, profile: Profile) -> None:
        whole = compile_module(network.module, "net", load_target("host"), CompileOptions(profile, measure=False)).report.ram.arena_bytes
        banked = compiled(network.module, f"fast={max(4, whole * eighths // 8)},slow={whole}", profile)
        if len(arena_views(banked.module)) < 2:
            return
        several.append(network)
        inputs = random_inputs(network.module)
        with tempfile.TemporaryDirectory() as folder:
            library = _BankedNetwork(banked, Path(folder))
            for _ in range(2):
                for wanted, found in zip(evaluate(network.module, inputs, profile), library.infer(inputs), strict=True):
                    np.testing.assert_array_equal(found, wanted)

    check()
    assert len(several) >= 6


def two_blocks() -> ModuleOp:
    builder = NetworkBuilder(5)
    value = builder.input((1, 12, 12, 8))
    for _ in range(2):
        value = builder.add(value, builder.conv(builder.depthwise(builder.conv(value, 40)), 8))
    return builder.finish(builder.conv(value, 4, (12, 12)))


def test_a_missing_or_unaligned_arena_of_any_bank_is_refused_and_nothing_is_done(tmp_path: Path) -> None:
    library = _BankedNetwork(compiled(two_blocks(), "fast=2K,middle=1K,slow=16K"), tmp_path)
    good = library.addresses()
    assert len(good) == 3
    before = [memory.memory.copy() for memory in library.memories.values()]
    assert library.function(None) == -1
    for number in range(3):
        for wrong in (None, good[number] + 1, good[number] + ARENA_ALIGNMENT // 2):
            assert library.call([*good[:number], wrong, *good[number + 1 :]]) == -1
    for memory, old in zip(library.memories.values(), before, strict=True):
        np.testing.assert_array_equal(memory.memory, old)


def test_the_header_states_size_and_alignment_of_each_bank() -> None:
    network = compiled(two_blocks(), "fast=2K,slow=16K")
    header = network.files["net.h"]
    for bank in network.report.banks:
        assert f"#define NET_ARENA_SIZE_{bank.name.upper()} {bank.arena_bytes}\n" in header
        assert f"#define NET_ARENA_ALIGN_{bank.name.upper()} 16U\n" in header
        assert f'section(".{bank.name}")' in header
    assert "int net_invoke(const net_arenas *arenas);" in header
    assert "NET_ARENA_SIZE " not in header
    assert "uint8_t *arena)" not in header


@pytest.mark.parametrize("banks", ["fast=64K,slow=64K", "only=64K"])
def test_one_bank_has_the_interface_of_a_network_without_banks(banks: str) -> None:
    header = compiled(two_blocks(), banks).files["net.h"]
    assert "int net_invoke(uint8_t *arena);" in header
    assert "#define NET_ARENA_SIZE " in header
    assert f"Planned for the RAM bank {banks.split('=')[0]}." in header


def test_a_bank_called_like_a_keyword_is_a_member_with_another_name(tmp_path: Path) -> None:
    network = compiled(two_blocks(), "Register=2K,slow=16K")
    assert "uint8_t *register_; /* NET_ARENA_SIZE_REGISTER_ bytes in bank Register */" in network.files["net.h"]
    build_library(network, tmp_path)


def test_a_bank_that_is_too_small_is_named() -> None:
    with pytest.raises(DoesNotFitError, match=r"RAM bank slow: its arena needs \d+ bytes and may have 600: \d+ too many"):
        compiled(two_blocks(), "fast=500,slow=600")


def test_budgets_are_read_as_they_are_written() -> None:
    part, host = load_target("stm32h743"), load_target("host")
    assert parse_banks("axi=512K,dtcm=2k", part) == (BankBudget("axi", 512 << 10), BankBudget("dtcm", 2048))
    assert parse_banks("dtcm, d3", part) == (BankBudget("dtcm", (128 << 10) - 4096), BankBudget("d3", 64 << 10))
    assert [bank.name for bank in parse_banks("auto", part)] == ["dtcm", "axi", "d2", "d3"]
    assert parse_banks("one=10,two=1M", host) == (BankBudget("one", 10), BankBudget("two", 1 << 20))


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("sram9=1K", "stm32h743", "no RAM bank 'sram9'; banks: dtcm, axi"),
        ("dtcm=129K", "stm32h743", "bank dtcm of stm32h743 has 131072 bytes"),
        ("dtcm=1K,dtcm=2K", "stm32h743", "names a bank twice"),
        ("one=1K,ONE=2K", "host", "names a bank twice"),
        ("dtcm=", "stm32h743", "'' is no size"),
        ("dtcm=0", "stm32h743", "'0' is no size"),
        ("dtcm=1Q", "stm32h743", "'1Q' is no size"),
        ("", "stm32h743", "takes names of banks"),
        ("a b=1K", "host", "takes names of banks"),
        ("auto", "host", "the host has no RAM banks"),
        ("fast", "host", "say how large fast is"),
    ],
)
def test_what_is_no_budget_is_refused_with_what_is_wrong(text: str, target: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_banks(text, load_target(target))
