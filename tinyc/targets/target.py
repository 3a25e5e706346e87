"""A part as data: what the core executes, which memory lies where, and how much of it a network may have.

The facts live in TOML files next to this module; users write files of the same form and may inherit from a built-in target.
All sizes are bytes, all addresses are byte addresses, clocks are in hertz.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from tinyc.errors import PluginError, UsageError, printable
from tinyc.plugins import additions

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Core:
    """What a processor core is, independent of the part it sits in.

    `gcc_cpu` is the value for `-mcpu` (empty for the host); `issue_width` is how many instructions it can start in one cycle; `has_dsp`
    says whether the packed 16-bit multiply-accumulate instructions of ARMv7E-M exist; `fpus` are the floating-point units to choose from.
    """

    name: str
    gcc_cpu: str
    issue_width: int
    has_dsp: bool
    fpus: tuple[str, ...]


CORES: Final[Mapping[str, Core]] = {
    core.name: core
    for core in (
        Core("cortex-m4", "cortex-m4", issue_width=1, has_dsp=True, fpus=("fpv4-sp-d16", "none")),
        Core("cortex-m7", "cortex-m7", issue_width=2, has_dsp=True, fpus=("fpv5-sp-d16", "fpv5-d16", "none")),
        Core("host", "", issue_width=1, has_dsp=False, fpus=("none",)),
    )
}

FLOAT_ABIS: Final = ("hard", "softfp", "soft")
ADDRESS_LIMIT: Final = 2**32
MOST_WAIT_CYCLES: Final = 64


@dataclass(frozen=True)
class Bank:
    """One block of memory: `bytes` bytes from address `start`. An access makes the core wait `wait_cycles`, as far as the target says."""

    name: str
    start: int
    bytes: int
    wait_cycles: int = 0

    @property
    def end(self) -> int:
        """First address behind the bank."""
        return self.start + self.bytes


@dataclass(frozen=True)
class Timing:
    """What the memory of a part adds to estimated cycles; by default nothing, as if code ran from memory without wait states.

    Each access to flash brings `flash_line_bytes` bytes and makes the core wait `flash_wait_cycles`, except for the `flash_hit_percent` of
    all accesses that a cache or a prefetcher answers.
    """

    flash_wait_cycles: int = 0
    flash_line_bytes: int = 16
    flash_hit_percent: int = 0


@dataclass(frozen=True)
class Target:
    """One part, checked. `banks` is RAM in ascending order; the host has neither banks nor flash.

    `ram_bytes` and `flash_bytes` are what a network may use; they can be lower than the memory that is there. `arena_bank` holds the arena,
    `stack_bank` the stack and the variables of the C library; banks that adjoin count as one (`region`).
    """

    name: str
    description: str
    core: Core
    fpu: str
    float_abi: str
    clock_hz: int
    flash: Bank | None
    banks: tuple[Bank, ...]
    arena_bank: str
    stack_bank: str
    ram_bytes: int
    flash_bytes: int
    timing: Timing = Timing()

    @property
    def is_host(self) -> bool:
        """Whether this is the machine that tinyc runs on and not a microcontroller."""
        return self.core.name == "host"

    @property
    def gcc_flags(self) -> tuple[str, ...]:
        """Flags that select this core in arm-none-eabi-gcc, for compiling and for linking; none for the host."""
        if self.is_host:
            return ()
        fpu = () if self.fpu == "none" else (f"-mfpu={self.fpu}",)
        return (f"-mcpu={self.core.gcc_cpu}", "-mthumb", *fpu, f"-mfloat-abi={self.float_abi}")

    def bank(self, name: str) -> Bank:
        """The RAM bank called `name`; raises UsageError with the names there are."""
        for bank in self.banks:
            if bank.name == name:
                return bank
        known = ", ".join(bank.name for bank in self.banks) or "none"
        raise UsageError(f"target {self.name} has no RAM bank {printable(repr(name))}; banks: {known}")

    def region(self, name: str) -> Bank:
        """The run of addresses from bank `name` on through all banks that adjoin it without a gap."""
        first = self.bank(name)
        end, names = first.end, [first.name]
        for bank in self.banks:
            if bank.start == end:
                end = bank.end
                names.append(bank.name)
        return Bank("+".join(names), first.start, end - first.start)

    def facts(self) -> dict[str, Any]:
        """The target as a JSON object: what a build's report records and what `tinyc targets --json` prints."""
        return {
            "name": self.name,
            "description": self.description,
            "core": self.core.name,
            "fpu": self.fpu,
            "float_abi": self.float_abi,
            "gcc_flags": list(self.gcc_flags),
            "clock_hz": self.clock_hz,
            "ram_bytes": self.ram_bytes,
            "flash_bytes": self.flash_bytes,
            "arena_bank": self.arena_bank,
            "stack_bank": self.stack_bank,
            "flash": None if self.flash is None else {"start": self.flash.start, "bytes": self.flash.bytes},
            "banks": [_bank_facts(bank) for bank in self.banks],
            "timing": asdict(self.timing),
        }


def _bank_facts(bank: Bank) -> dict[str, Any]:
    waits = {"wait_cycles": bank.wait_cycles} if bank.wait_cycles else {}
    return {"name": bank.name, "start": bank.start, "bytes": bank.bytes, **waits}


KEYS: Final = (
    "inherit",
    "name",
    "description",
    "core",
    "fpu",
    "float_abi",
    "clock_hz",
    "flash",
    "banks",
    "arena_bank",
    "stack_bank",
    "ram_bytes",
    "flash_bytes",
    "timing",
)
# A limit, and the bank that it speaks of, say nothing about another memory map: a file that brings its own map does not inherit them.
MAP_DEPENDENT_KEYS: Final[Mapping[str, tuple[str, ...]]] = {"banks": ("arena_bank", "stack_bank", "ram_bytes"), "flash": ("flash_bytes",)}


def _builtin_names() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.toml")))


def target_origins() -> dict[str, str]:
    """Names of all targets, built-in ones first, and where each comes from: `tinyc` or a plug-in. Raises PluginError for clashes."""
    builtin = _builtin_names()
    return dict.fromkeys(builtin, "tinyc") | {
        name: addition.plugin for name, addition in additions("targets", builtin.__contains__).items()
    }


def available_targets() -> tuple[str, ...]:
    """Names of all targets, built-in and from plug-ins."""
    return tuple(target_origins())


def load_target(name: str) -> Target:
    """The target `name`; raises UsageError with the names there are, PluginError where a plug-in's file is missing."""
    return _target_from(_named_table(name, f"target {printable(repr(name))}"), f"target {name}")


def load_target_file(path: Path) -> Target:
    """The target described by the TOML file `path`, which may `inherit` from a built-in one.

    Raises UsageError when the file is missing, is not TOML or describes no possible part; the text says what is allowed.
    """
    table = _resolved(_read(path), printable(path))
    if "name" not in table:
        raise UsageError(f"{printable(path)}: `name` is missing; give the part a name of its own")
    return _target_from(table, printable(path))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read target file {printable(path)}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{printable(path)} is not a TOML file: {printable(error)}") from error


def _named_table(name: str, what: str) -> dict[str, Any]:
    if name in _builtin_names():
        return _resolved(_read(Path(__file__).parent / f"{name}.toml"), f"built-in target {name}")
    addition = additions("targets", _builtin_names().__contains__).get(name)
    if addition is None:
        raise UsageError(f"unknown {what}; available: {', '.join(available_targets())}")
    package, _, file = addition.where.partition(":")
    try:
        path = Path(str(files(package))) / file
    except ModuleNotFoundError as error:
        raise PluginError(f"plug-in {addition.plugin}: target {printable(name)}: there is no package {printable(package)}") from error
    return _resolved({"name": name, **_read(path)}, f"target {name} of plug-in {addition.plugin}")


def _resolved(table: dict[str, Any], where: str) -> dict[str, Any]:
    """`table` over the one it inherits from: keys replace keys, tables and arrays as a whole."""
    unknown = sorted(set(table) - set(KEYS))
    if unknown:
        raise UsageError(f"{where}: unknown key {printable(repr(unknown[0]))}; allowed: {', '.join(KEYS)}")
    parent = table.get("inherit")
    if parent is None:
        return table
    if not isinstance(parent, str):
        raise UsageError(f"{where}: `inherit` must be the name of a built-in target: {', '.join(available_targets())}")
    inherited = _named_table(parent, f"target {printable(repr(parent))} in `inherit` of {where}")
    dropped = {"inherit", "name"}.union(*(keys for key, keys in MAP_DEPENDENT_KEYS.items() if key in table))
    own = {key: value for key, value in table.items() if key != "inherit"}
    return {key: value for key, value in inherited.items() if key not in dropped} | own


def _target_from(table: Mapping[str, Any], where: str) -> Target:
    core = CORES[_choice(table, "core", tuple(CORES), where)]
    fpu = _choice(table, "fpu", core.fpus, where, default="none")
    float_abi = _choice(table, "float_abi", FLOAT_ABIS, where, default="soft")
    if (fpu == "none") != (float_abi == "soft"):
        rule = "without an FPU it is 'soft', with one 'hard' or 'softfp'"
        raise UsageError(f"{where}: fpu {fpu!r} does not go with float_abi {float_abi!r}; {rule}")
    banks = _banks(table, where)
    flash = _bank(table["flash"], "flash", f"{where}: flash") if "flash" in table else None
    is_host = core.name == "host"
    if is_host == bool(banks) or is_host == (flash is not None):
        needed = "has neither `flash` nor `banks`" if is_host else "needs a `flash` table and at least one [[banks]] table"
        raise UsageError(f"{where}: a target with core {core.name!r} {needed}")
    names = tuple(bank.name for bank in banks)
    arena_bank = _choice(table, "arena_bank", names, where, default=names[0]) if names else ""
    target = Target(
        name=_text(table, "name", where),
        description=_text(table, "description", where, default=""),
        core=core,
        fpu=fpu,
        float_abi=float_abi,
        clock_hz=_positive(table, "clock_hz", where, default=0),
        flash=flash,
        banks=banks,
        arena_bank=arena_bank,
        stack_bank=_choice(table, "stack_bank", names, where, default=arena_bank) if names else "",
        ram_bytes=_positive(table, "ram_bytes", where, default=0),
        flash_bytes=_positive(table, "flash_bytes", where, default=0),
        timing=timing_from(table.get("timing", {}), where),
    )
    return _with_limits(target, where)


def _with_limits(target: Target, where: str) -> Target:
    """`target` with absent limits filled in from the memory map, and given ones checked against it."""
    if target.is_host:
        if not (target.ram_bytes and target.flash_bytes):
            raise UsageError(f"{where}: a target without a memory map needs `ram_bytes` and `flash_bytes`")
        return target
    assert target.flash is not None  # a microcontroller without flash was refused before
    region = target.region(target.arena_bank)
    for key, limit, there in (("ram_bytes", target.ram_bytes, region.bytes), ("flash_bytes", target.flash_bytes, target.flash.bytes)):
        if limit > there:
            raise UsageError(f"{where}: `{key}` is {limit}, but only {there} bytes are there")
    return replace(target, ram_bytes=target.ram_bytes or region.bytes, flash_bytes=target.flash_bytes or target.flash.bytes)


def _banks(table: Mapping[str, Any], where: str) -> tuple[Bank, ...]:
    entries = table.get("banks", [])
    if not isinstance(entries, list):
        raise UsageError(f"{where}: `banks` must be an array of tables, written [[banks]]")
    banks = []
    for index, entry in enumerate(entries):
        at = f"{where}: banks[{index}]"
        banks.append(_bank(entry, None, at))
    banks.sort(key=lambda bank: bank.start)
    if len({bank.name for bank in banks}) != len(banks):
        raise UsageError(f"{where}: two RAM banks have the same name")
    for low, high in pairwise(banks):
        if low.end > high.start:
            raise UsageError(f"{where}: RAM banks {low.name} and {high.name} overlap")
    return tuple(banks)


def _bank(entry: object, name: str | None, where: str) -> Bank:
    allowed = ("start", "bytes") if name is not None else ("name", "start", "bytes")
    further = () if name is not None else ("wait_cycles",)
    if not isinstance(entry, dict) or not set(allowed) <= set(entry) <= {*allowed, *further}:
        also = f", and perhaps {', '.join(further)}" if further else ""
        raise UsageError(f"{where} must be a table with exactly these keys: {', '.join(allowed)}{also}")
    start, waits = entry["start"], entry.get("wait_cycles", 0)
    if not isinstance(start, int) or isinstance(start, bool) or not 0 <= start < ADDRESS_LIMIT:
        raise UsageError(f"{where}: `start` must be an address from 0 to 0xffffffff, found {printable(repr(start))}")
    size = _positive(entry, "bytes", where)
    if start + size > ADDRESS_LIMIT:
        raise UsageError(f"{where} ends behind the last address, 0xffffffff")
    if not isinstance(waits, int) or isinstance(waits, bool) or not 0 <= waits <= MOST_WAIT_CYCLES:
        raise UsageError(f"{where}: `wait_cycles` must be a whole number from 0 to {MOST_WAIT_CYCLES}, found {printable(repr(waits))}")
    return Bank(name if name is not None else _text(entry, "name", where), start, size, waits)


def timing_from(entry: object, where: str) -> Timing:
    """Timing from a table or JSON object. Raises UsageError with what is allowed."""
    limits = {"flash_wait_cycles": (0, 64), "flash_line_bytes": (4, 128), "flash_hit_percent": (0, 100)}
    if not isinstance(entry, dict) or not set(entry) <= set(limits):
        raise UsageError(f"{where}: `timing` must be a table with these keys only: {', '.join(limits)}")
    for key, value in entry.items():
        low, high = limits[key]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise UsageError(f"{where}: `timing.{key}` must be a whole number from {low} to {high}, found {printable(repr(value))}")
    return Timing(**entry)


def _text(table: Mapping[str, Any], key: str, where: str, default: str | None = None) -> str:
    value = table.get(key, default)
    if not isinstance(value, str) or not value.isprintable() or (default is None and not value):
        raise UsageError(f"{where}: `{key}` must be a line of text, found {printable(repr(value))}")
    return value


def _choice(table: Mapping[str, Any], key: str, allowed: tuple[str, ...], where: str, default: str | None = None) -> str:
    value = table.get(key, default)
    if not isinstance(value, str) or value not in allowed:
        raise UsageError(f"{where}: `{key}` is {printable(repr(value))}; allowed: {', '.join(allowed)}")
    return value


def _positive(table: Mapping[str, Any], key: str, where: str, default: int | None = None) -> int:
    if key not in table and default is not None:
        return default
    value = table.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < ADDRESS_LIMIT:
        raise UsageError(f"{where}: `{key}` must be a whole number from 1 to {ADDRESS_LIMIT - 1}, found {printable(repr(value))}")
    return value
