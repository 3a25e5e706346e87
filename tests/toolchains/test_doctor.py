"""`tinyc doctor` names what is there with its version, and what is missing with the command that installs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tinyc.cli import doctor
from tinyc.cli.doctor import doctor_command
from tinyc.cli.main import cli


def facts() -> dict[str, Any]:
    result = CliRunner().invoke(doctor_command, ["--json"], catch_exceptions=False)
    assert result.exit_code == 0
    found = json.loads(result.output)
    assert isinstance(found, dict)
    return found


def fake_tool(folder: Path, name: str, answer: str, exit_code: int = 0) -> None:
    (folder / name).write_text(f"#!{sys.executable}\nprint({answer!r})\nraise SystemExit({exit_code})\n")
    (folder / name).chmod(0o755)


def test_the_verb_is_there() -> None:
    assert "doctor" in CliRunner().invoke(cli, ["--help"]).output


def test_versions_of_tools_and_packages_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tool(tmp_path, "arm-none-eabi-gcc", "13.2.1")
    fake_tool(tmp_path, "qemu-system-arm", "QEMU emulator version 8.1.2 (Debian 1:8.1.2)")
    fake_tool(tmp_path, "cc", "cc (GCC) 12.2.0")
    fake_tool(tmp_path, "renode", "Renode v1.15.0.1234")
    monkeypatch.setenv("PATH", str(tmp_path))
    versions = {check["name"]: check["version"] for check in facts()["checks"]}
    assert versions["arm-none-eabi-gcc"] == "13.2.1"
    assert versions["qemu-system-arm"] == "8.1.2"
    assert versions["C compiler of this machine"] == "12.2.0"
    assert versions["renode"] == "1.15.0.1234"
    assert versions["xdsl"].startswith("0.74")


def test_what_is_missing_is_named_with_what_it_costs_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(doctor, "package_version", lambda name: None if name in ("unicorn", "ziglang", "ai-edge-litert") else "1.0")
    output = CliRunner().invoke(doctor_command, [], catch_exceptions=False).output
    for command in (
        "apt install gcc-arm-none-eabi libnewlib-arm-none-eabi",
        "apt install qemu-system-arm",
        "pip install 'tinyc[emulator]'",
        "pip install 'tinyc[verify]'",
        "github.com/renode/renode",
    ):
        assert command in output
    assert "yes compile a model to C" in output
    assert "no  --runner unicorn: needs arm-none-eabi-gcc or ziglang, C compiler of this machine or ziglang, unicorn" in output
    assert "no  verify against ai-edge-litert: needs ai-edge-litert" in output


def test_with_the_two_packages_of_the_extra_alone_unicorn_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(doctor, "package_version", lambda name: "1.0")
    missing = {ability["name"]: ability["missing"] for ability in facts()["abilities"]}
    assert missing["--runner unicorn"] == []
    assert missing["--runner host"] == []
    assert missing["--runner qemu"] == ["qemu-system-arm"]
    assert missing["report code size and stack"] == ["arm-none-eabi-gcc"]


def test_a_tool_that_does_not_start_does_not_stop_the_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tool(tmp_path, "qemu-system-arm", "cannot load a library", exit_code=127)
    monkeypatch.setenv("PATH", str(tmp_path))
    versions = {check["name"]: check["version"] for check in facts()["checks"]}
    assert versions["qemu-system-arm"] == "does not start"


def test_a_missing_package_that_everything_needs_stops_every_ability(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "package_version", lambda name: None if name == "xdsl" else "1.0")
    assert all("xdsl" in ability["missing"] for ability in facts()["abilities"])
