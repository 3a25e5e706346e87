"""Which RAM banks a network may use, and how much of each: what `--banks` says, checked against the target."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tinyc.errors import UsageError, printable
from tinyc.targets.target import Target

AUTO: Final = "auto"
STACK_SHARE: Final = 4096
"""Bytes that stay free in the stack's bank unless the user says how much of it the network may have."""
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,30}")
_SIZE: Final = re.compile(r"([0-9]{1,10})([KkMm]?)")
_FACTORS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20}


@dataclass(frozen=True)
class BankBudget:
    """`bytes` bytes of the bank `name` may hold an arena."""

    name: str
    bytes: int


def parse_banks(text: str, target: Target) -> tuple[BankBudget, ...]:
    """The budgets in a text such as `dtcm=64K,axi`, in its order: the fastest bank comes first.

    A bank without a size may be filled, but for the stack's share where it holds the stack; `auto` stands for all banks of the target,
    by wait cycles, then by address.

    Raises UsageError for unknown or doubled banks, sizes that are none or larger than the bank, and names that cannot become C names.
    """
    if text == AUTO:
        if target.is_host:
            raise UsageError("the host has no RAM banks; say which to imitate, for example --banks fast=64K,slow=256K")
        entries = [bank.name for bank in sorted(target.banks, key=lambda bank: (bank.wait_cycles, bank.start))]
    else:
        entries = [entry.strip() for entry in text.split(",")]
    budgets = tuple(_budget(entry, target) for entry in entries)
    if len({budget.name.lower() for budget in budgets}) != len(budgets):
        raise UsageError(f"--banks names a bank twice: {printable(text)}")
    return budgets


def _budget(entry: str, target: Target) -> BankBudget:
    name, equals, size = entry.partition("=")
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--banks takes names of banks with sizes, such as dtcm=64K,axi=256K, or auto; a name is up to 31 letters, digits and _, "
            f"found {printable(repr(entry))}"
        )
    if target.is_host:
        if not equals:
            raise UsageError(f"the host has no RAM banks: say how large {name} is, for example {name}=64K")
        return BankBudget(name, _bytes(size, entry))
    there = target.bank(name).bytes
    if not equals:
        return BankBudget(name, max(1, there - STACK_SHARE) if name == target.stack_bank else there)
    wanted = _bytes(size, entry)
    if wanted > there:
        raise UsageError(f"--banks {printable(entry)}: bank {name} of {target.name} has {there} bytes")
    return BankBudget(name, wanted)


def _bytes(text: str, entry: str) -> int:
    found = _SIZE.fullmatch(text)
    size = int(found[1]) * _FACTORS[found[2].upper()] if found else 0
    if not 0 < size < 1 << 32:
        raise UsageError(f"--banks {printable(entry)}: {printable(repr(text))} is no size such as 65536, 64K or 1M")
    return size
