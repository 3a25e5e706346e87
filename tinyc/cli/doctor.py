"""`tinyc doctor`: what is installed, what is missing, what that costs, and the command that installs it."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

import click

from tinyc.errors import TinycError
from tinyc.toolchains.gcc_arm import find_gcc_arm
from tinyc.toolchains.process import run_tool
from tinyc.version import VERSION


@dataclass(frozen=True)
class Check:
    """One thing that tinyc can use. `version` is None where it is missing; then `costs` is what does not work, `install` brings it.

    `required` things are needed by everything, the others by what `used_for` says.
    """

    name: str
    version: str | None
    used_for: str
    costs: str
    install: str
    required: bool = False


@dataclass(frozen=True)
class Ability:
    """Something that a user wants to do, and what keeps him from it (empty where nothing does)."""

    name: str
    missing: tuple[str, ...]


APT: Final = "apt install "
PIP: Final = "pip install "
PACKAGES: Final = (
    ("xdsl", "the compiler's IR", "tinyc does not work", f"{PIP}tinyc", True),
    ("numpy", "arithmetic on tensors", "tinyc does not work", f"{PIP}tinyc", True),
    ("jinja2", "writing C", "tinyc does not work", f"{PIP}tinyc", True),
    ("click", "the command line", "tinyc does not work", f"{PIP}tinyc", True),
    ("tflite", "reading models", "tinyc does not work", f"{PIP}tinyc", True),
    ("flatbuffers", "reading models", "tinyc does not work", f"{PIP}tinyc", True),
    (
        "ai-edge-litert",
        "verify: a reference that is not tinyc's own",
        "verify compares the C with tinyc's interpreter alone",
        f"{PIP}'tinyc[verify]'",
        False,
    ),
    ("unicorn", "runner unicorn", "no emulator without a package of the system", f"{PIP}'tinyc[emulator]'", False),
    (
        "ziglang",
        "compiling for Cortex-M and for this machine without root",
        "a compiler of the system is needed",
        f"{PIP}'tinyc[emulator]'",
        False,
    ),
)


def package_version(name: str) -> str | None:
    """Version of the installed Python package `name`, None where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _first_line_version(*command: str) -> str | None:
    """The first number with a dot in the first line that `command` prints; None where it is not on PATH or does not start."""
    path = shutil.which(command[0])
    if path is None:
        return None
    try:
        lines = run_tool([path, *command[1:]], timeout_seconds=30).stdout.strip().splitlines()
    except TinycError:
        return "does not start"
    number = re.search(r"\d+(\.\d+)+", lines[0]) if lines else None
    return number.group() if number is not None else "unknown version"


def _gcc_arm_version() -> str | None:
    try:
        return find_gcc_arm().version()
    except TinycError:
        return None


def _native_compiler_version() -> str | None:
    name = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    return None if name is None else _first_line_version(name, "--version")


TOOLS: Final[tuple[tuple[str, Callable[[], str | None], str, str, str], ...]] = (
    (
        "arm-none-eabi-gcc",
        _gcc_arm_version,
        "compiling for the part; code size and stack in the report",
        "the report lacks code size and stack; emulators run slower code of zig, if that is installed",
        f"{APT}gcc-arm-none-eabi libnewlib-arm-none-eabi",
    ),
    (
        "qemu-system-arm",
        lambda: _first_line_version("qemu-system-arm", "--version"),
        "runner qemu, the default of run and verify",
        "use --runner unicorn",
        f"{APT}qemu-system-arm",
    ),
    (
        "C compiler of this machine",
        _native_compiler_version,
        "runner host; counting instructions in emulators",
        "zig does it, if that is installed; --sanitize does not work",
        f"{APT}gcc",
    ),
    (
        "renode",
        lambda: _first_line_version("renode", "--version"),
        "runner renode: models of the parts with their memory",
        "use --runner qemu or unicorn",
        "download https://github.com/renode/renode/releases and put its folder on PATH",
    ),
)


def checks() -> list[Check]:
    """Everything that tinyc can use, looked for now."""
    found = [Check(name, package_version(name), used, costs, install, required) for name, used, costs, install, required in PACKAGES]
    return found + [Check(name, version(), used, costs, install) for name, version, used, costs, install in TOOLS]


def abilities(found: list[Check]) -> list[Ability]:
    """What can be done with what was found."""
    there = {check.name for check in found if check.version is not None}
    required = tuple(check.name for check in found if check.required and check.version is None)
    no_arm = () if there & {"arm-none-eabi-gcc", "ziglang"} else ("arm-none-eabi-gcc or ziglang",)
    no_native = () if there & {"C compiler of this machine", "ziglang"} else ("C compiler of this machine or ziglang",)

    def absent(*names: str) -> tuple[str, ...]:
        return tuple(name for name in names if name not in there)

    return [
        Ability("compile a model to C", required),
        Ability("report code size and stack", (*required, *absent("arm-none-eabi-gcc"))),
        Ability("--runner qemu", (*required, *no_arm, *absent("qemu-system-arm"))),
        Ability("--runner unicorn", (*required, *no_arm, *no_native, *absent("unicorn"))),
        Ability("--runner renode", (*required, *no_arm, *absent("renode"))),
        Ability("--runner host", (*required, *no_native)),
        Ability("--runner host --sanitize", (*required, *absent("C compiler of this machine"))),
        Ability("verify against ai-edge-litert", (*required, *absent("ai-edge-litert"))),
    ]


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor_command(as_json: bool) -> None:
    """Say what is installed, what is missing, what that costs, and the command that installs it. Nothing is changed."""
    found = checks()
    able = abilities(found)
    if as_json:
        facts = {"tinyc": VERSION, "checks": [asdict(check) for check in found], "abilities": [asdict(ability) for ability in able]}
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo(f"tinyc {VERSION}")
    for check in found:
        click.echo(f"  {check.name:<28}{check.version if check.version is not None else 'missing':<16}{check.used_for}")
    for ability in able:
        click.echo(f"no  {ability.name}: needs {', '.join(ability.missing)}" if ability.missing else f"yes {ability.name}")
    for check in found:
        if check.version is None:
            click.echo(f"{check.name} is missing: {check.costs}\n  {check.install}")
