"""The checker itself: what it must find, and above all what it must refuse."""

from __future__ import annotations

import pytest

from support.filecheck import FileCheckError, directives_of, file_check

TEXT = "first one\nsecond %3 = add %1, %1\nthird two\n"


@pytest.mark.parametrize(
    "expectations",
    [
        "// CHECK: first\n// CHECK: third",
        "// CHECK: first\n// CHECK-NEXT: second\n// CHECK-SAME: add",
        "// CHECK: {{f[a-z]+}}   one",
        "// CHECK: second [[value:%\\d]] = add [[operand:%\\d]], [[operand]]",
        "// CHECK: [[word:\\w+]] one\n// CHECK-NOT: [[word]]\n// CHECK: third",
        "// CHECK-NOT: fourth",
        "// CHECK-NOT: second\n// CHECK: first",
    ],
)
def test_accepts_what_holds(expectations: str) -> None:
    file_check(TEXT, expectations)


@pytest.mark.parametrize(
    "expectations",
    [
        "// CHECK: third\n// CHECK: first",
        "// CHECK: first\n// CHECK-NEXT: third",
        "// CHECK: first\n// CHECK-SAME: second",
        "// CHECK: add [[operand:%\\d]], %2",
        "// CHECK: [[value:%\\d]] = add [[value]]",
        "// CHECK: first\n// CHECK-NOT: second\n// CHECK: third",
        "// CHECK: second\n// CHECK-NOT: third",
        "// CHECK-NOT: first\n// CHECK: third",
        "// CHECK: first.one",
    ],
)
def test_refuses_what_does_not_hold(expectations: str) -> None:
    with pytest.raises(FileCheckError):
        file_check(TEXT, expectations)


@pytest.mark.parametrize("expectations", ["no directive", "// CHECK-NEXT: first", "// CHECK-NOT: x\n// CHECK-SAME: y", "// CHECK:"])
def test_refuses_expectations_that_check_nothing_or_refer_to_no_match(expectations: str) -> None:
    with pytest.raises(ValueError, match=r"expected directives|has no pattern"):
        directives_of(expectations)
