"""`tinyc ops` and docs/ops.md say what the rules do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tinyc.frontends.supported import CONSTRAINTS, supported_ops_markdown
from tinyc.frontends.tflite_refusals import REFUSALS
from tinyc.frontends.tflite_rules import RULES


def test_every_rule_has_its_line_of_constraints_and_no_other_has() -> None:
    assert set(CONSTRAINTS) == set(RULES)


def test_nothing_is_both_supported_and_refused() -> None:
    assert not set(RULES) & set(REFUSALS)


def test_the_document_is_what_the_command_prints() -> None:
    document = Path(__file__).resolve().parents[2] / "docs" / "ops.md"
    assert document.read_text(encoding="utf-8") == supported_ops_markdown()


def test_the_onnx_page_names_every_op_that_the_front_end_has_a_rule_for() -> None:
    pytest.importorskip("onnx")
    from tinyc.frontends.onnx import RULES as ONNX_RULES

    page = (Path(__file__).resolve().parents[2] / "docs" / "onnx.md").read_text(encoding="utf-8")
    words = set(re.findall(r"\w+", page))
    assert {op.rsplit(".", 1)[-1] for op in ONNX_RULES} <= words
