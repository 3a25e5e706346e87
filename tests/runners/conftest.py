"""The fixture of all runner tests: a build folder made by hand."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_build import make_build


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Path]:
    """Makes the build folder of a test; see make_build."""

    def make(target: str = "cortex-m7", **options: Any) -> Path:
        return make_build(tmp_path / "build", target, **options)

    return make


@pytest.fixture
def without_zig(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the Python package ziglang."""
    monkeypatch.setitem(sys.modules, "ziglang", None)
