"""The node cases of ONNX's backend test: each case of an operator of tinyc is right, or is listed with the reason why it is skipped."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest

from frontends.onnx_node_table import DOCUMENT, document
from support.host_network import compile_for_host, needs_gcc, run_on_host
from support.onnx_node_cases import CLAIMED, Array, NodeCase, generated_cases
from support.onnx_node_ways import WAYS, Outcome, outcomes, recorded_module
from tinyc.numerics.profile import Profile

pytest.importorskip("onnxruntime")

QUANTISED = ("Clip", "DequantizeLinear", "MaxPool", "QLinearConv", "QLinearMatMul", "QuantizeLinear")


@cache
def results() -> tuple[list[NodeCase], list[Outcome]]:
    """All cases and what became of them; raises where a result is wrong."""
    cases = generated_cases()
    return cases, outcomes(cases)


def test_the_document_is_what_the_cases_give() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    if f"onnx {onnx.__version__}," not in text:
        pytest.skip(f"the document is of another version of onnx than {onnx.__version__}")
    cases, found = results()
    assert text == document(found, cases)


def test_every_claimed_operator_that_has_a_case_is_equal_in_some_way() -> None:
    cases, found = results()
    equal = {outcome.case.op for outcome in found if not outcome.reason}
    # A mean over rows and columns, which is what is claimed, has no case.
    assert {case.op for case in cases} - equal <= {"ReduceMean"}
    assert {case.op for case in cases} <= CLAIMED


def is_8_bit(case: NodeCase) -> bool:
    """Whether the case itself is about 8-bit tensors that tinyc computes with."""

    def narrow(array: Array | None) -> bool:
        return array is not None and array.dtype.name in ("int8", "uint8")

    return case.op in QUANTISED and any(map(narrow, (*case.inputs, *case.outputs)))


def test_every_quantised_case_of_8_bits_is_exact_at_run_time() -> None:
    cases, found = results()
    wanted = {case.name for case in cases if is_8_bit(case)}
    assert len(wanted) >= 18
    assert wanted <= {outcome.case.name for outcome in found if outcome.way == "int8" and not outcome.reason}


@pytest.mark.skipif(needs_gcc() is not None, reason="needs gcc")
@pytest.mark.parametrize("name", [case.name for case in generated_cases() if is_8_bit(case)])
def test_every_quantised_case_of_8_bits_is_exact_as_c(name: str, tmp_path: Path) -> None:
    (case,) = [case for case in generated_cases() if case.name == name]
    module, inputs, expected = recorded_module(case)
    network = compile_for_host(module, Profile.ONNXRUNTIME, keep_float_io=True)
    found = run_on_host(network, tmp_path, inputs)
    for ours, recorded in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.reshape(recorded.shape), recorded)


def test_every_way_has_cases_that_are_equal() -> None:
    _, found = results()
    for way in WAYS:
        assert sum(outcome.way == way.name and not outcome.reason for outcome in found) > 80
