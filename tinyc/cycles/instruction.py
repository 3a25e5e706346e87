"""Thumb instructions as a cycle model sees them: what they are, which registers they read and write.

The text is objdump's, in the unified syntax of the ARMv7-M Architecture Reference Manual (chapter A7).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import Final


class Kind(Enum):
    """What an instruction occupies in a core."""

    ALU = "alu"
    SHIFT = "shift"
    """An ALU operation with a shifted operand, a shift, or an access to a field of bits."""
    SIMD = "simd"
    """Operations on packed values and what shares their unit: extensions, saturation, reversal, CLZ."""
    MAC = "mac"
    DIVIDE = "divide"
    LOAD = "load"
    LOAD_MULTIPLE = "load multiple"
    STORE = "store"
    STORE_MULTIPLE = "store multiple"
    BRANCH = "branch"
    CALL = "call"
    TABLE_BRANCH = "table branch"
    FLOAT = "float"
    FLOAT_MAC = "float multiply-accumulate"
    FLOAT_DIVIDE = "float divide"
    FLOAT_MOVE = "float move"
    CONDITION = "condition"
    """IT, which makes the instructions after it conditional."""
    NOTHING = "nothing"
    SYSTEM = "system"


FLAGS: Final = "flags"
NO_REGISTERS: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True)
class Instruction:
    """One instruction. Registers are r0 to r12, sp, lr, pc, s0 to s31, d0 to d15 (as s registers), and `flags`.

    `address_reads` are registers that form an address, `shifted_reads` operands that pass the shifter first, `accumulator_reads` what a
    multiplication adds to, `data_reads` what a store writes; `reads` is everything else that is read. `base_writes` are base registers that
    an access updates. `words` is the number of registers that memory is asked for. `target` is the address of a direct branch.
    `bank` is (base register, bit 2 of the offset) of a load of one word or less without update, None for others.
    """

    kind: Kind
    address: int = 0
    bytes: int = 0
    mnemonic: str = ""
    reads: frozenset[str] = NO_REGISTERS
    writes: frozenset[str] = NO_REGISTERS
    address_reads: frozenset[str] = NO_REGISTERS
    shifted_reads: frozenset[str] = NO_REGISTERS
    accumulator_reads: frozenset[str] = NO_REGISTERS
    data_reads: frozenset[str] = NO_REGISTERS
    base_writes: frozenset[str] = NO_REGISTERS
    words: int = 0
    bank: tuple[str, int] | None = None
    target: int | None = None
    conditional: bool = False
    returns: bool = False
    """Writes the program counter from a register or from memory."""

    @property
    def is_jump(self) -> bool:
        """Whether execution may go on elsewhere."""
        return self.kind in (Kind.BRANCH, Kind.CALL, Kind.TABLE_BRANCH) or self.returns

    @property
    def all_reads(self) -> frozenset[str]:
        """Every register that is read, for whatever purpose."""
        return self.reads | self.address_reads | self.shifted_reads | self.accumulator_reads | self.data_reads


_CONDITIONS: Final = ("eq", "ne", "cs", "hs", "cc", "lo", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le", "al")
_ALIASES: Final = {"sb": "r9", "sl": "r10", "fp": "r11", "ip": "r12", "r13": "sp", "r14": "lr", "r15": "pc"}
_REGISTER: Final = re.compile(r"(r\d+|sp|lr|pc|ip|fp|sl|sb|[sd]\d+)$")
_SHIFT: Final = re.compile(r"(lsl|lsr|asr|ror|rrx)\b")
_PARTS: Final = re.compile(r"\[[^\]]*\]!?|\{[^}]*\}|[^,\[\]{}]+!?")

_SETS_FLAGS: Final = frozenset(
    ["add", "sub", "mov", "mvn", "and", "orr", "eor", "bic", "orn", "rsb", "adc", "sbc", "lsl", "lsr", "asr", "ror", "rrx", "mul", "neg"]
)
_COMPARES: Final = frozenset(["cmp", "cmn", "tst", "teq"])
_SHIFTS: Final = frozenset(["lsl", "lsr", "asr", "ror", "rrx"])
_STACK: Final = frozenset(["push", "pop", "vpush", "vpop"])
_NOTHING: Final = frozenset(["nop", "pld", "pli", "yield"])
_SYSTEM: Final = frozenset(["mrs", "msr", "dmb", "dsb", "isb", "svc", "bkpt", "udf", "cpsid", "cpsie", "wfi", "wfe", "sev", "clrex"])
_UNARY: Final = frozenset(
    ["mov", "movw", "mvn", "adr", "neg", "clz", "sxtb", "sxth", "uxtb", "uxth", "sxtb16", "uxtb16", "rev", "rev16", "revsh", "rbit"]
)
# These pass the shifter of the first stage with the operand that they extract or saturate.
_SHIFTED_SIMD: Final = frozenset(
    ["ssat", "usat", "ssat16", "usat16", "rev", "rev16", "revsh", "rbit", "ubfx", "sbfx", "pkhbt", "pkhtb", "qdadd", "qdsub"]
)
_PARALLEL: Final = re.compile(r"[su](add8|add16|sub8|sub16|asx|sax)$")
_SIMD: Final = re.compile(r"(clz|[su]xta?[bh](16)?|sel|q(add|sub)|(s|u|q|uq|sh|uh)(add8|add16|sub8|sub16|asx|sax)|usada?8)$")
_MAC: Final = re.compile(r"(mul|mla|mls|[su]mull|[su]mlal|umaal|sm[lmu].*)$")
_LONG: Final = re.compile(r"([su]mull|umaal|umlal|smlal.*|smlsl.*)$")
_MEMORY: Final = re.compile(r"(v?ldr|v?str)(b|h|sb|sh|d|t|bt|ht|sbt|sht|ex|exb|exh)?$")
_MULTIPLE: Final = re.compile(r"v?(ldm|stm)(ia|db|fd|ea)?$")


def parse_instructions(lines: Iterable[tuple[int, int, str, str]]) -> list[Instruction]:
    """Instructions in the order of their addresses from (address, bytes, mnemonic, operands); IT blocks make what they hold conditional."""
    found: list[Instruction] = []
    conditional = 0
    for address, size, mnemonic, operands in lines:
        found.append(parse_instruction(address, size, mnemonic, operands, conditional > 0))
        conditional = len(mnemonic) - 1 if re.fullmatch(r"it[te]{0,3}", mnemonic) else max(0, conditional - 1)
    return found


def parse_instruction(address: int, size: int, mnemonic: str, operands: str, conditional: bool = False) -> Instruction:
    """One instruction; `conditional` where an IT before it says so: its mnemonic then ends with a condition."""
    return replace(_shape(mnemonic, operands, conditional), address=address, bytes=size, mnemonic=mnemonic)


@lru_cache(maxsize=65536)
def _shape(mnemonic: str, operands: str, conditional: bool) -> Instruction:
    """The instruction without its place."""
    parts = [part.strip() for part in _PARTS.findall(operands) if part.strip()]
    found = _parsed(_plain_name(mnemonic, conditional), parts)
    if not conditional:
        return found
    # The condition is needed where the result is made; a jump is predicted.
    return replace(found, conditional=True, reads=found.reads if found.is_jump else found.reads | {FLAGS})


def _plain_name(mnemonic: str, conditional: bool) -> str:
    """`mnemonic` without width, data type and, inside an IT block, condition."""
    name = mnemonic.split(".")[0]
    if conditional and name[-2:] in _CONDITIONS and len(name) > 2:
        name = name[:-2]
    return name


def _registers(text: str) -> list[str]:
    """Registers in an operand, ranges of lists spelled out; d registers as their s registers."""
    found: list[str] = []
    for piece in text.strip("{}[]!").split(","):
        piece = piece.strip().rstrip("!")
        first, dash, last = piece.partition("-")
        if dash and _REGISTER.match(first) and _REGISTER.match(last.strip()):
            letter = first[0]
            found += [f"{letter}{number}" for number in range(int(first[1:]), int(last.strip()[1:]) + 1)]
        elif _REGISTER.match(piece):
            found.append(piece)
    spelled: list[str] = []
    for name in found:
        if name[0] == "d":
            spelled += [f"s{2 * int(name[1:])}", f"s{2 * int(name[1:]) + 1}"]
        else:
            spelled.append(_ALIASES.get(name, name))
    return spelled


def _all_registers(parts: Iterable[str]) -> frozenset[str]:
    return frozenset(register for part in parts for register in _registers(part))


def _parsed(name: str, parts: list[str]) -> Instruction:
    if re.fullmatch(r"it[te]{0,3}", name):
        return Instruction(Kind.CONDITION)
    if name in _NOTHING:
        return Instruction(Kind.NOTHING)
    if name in _SYSTEM:
        return Instruction(Kind.SYSTEM, reads=_all_registers(parts[1:]), writes=_all_registers(parts[:1]))
    found = _branch(name, parts) or _memory(name, parts)
    if found is not None:
        return found
    return _float(name, parts) if name.startswith("v") else _computation(name, parts)


def _branch(name: str, parts: list[str]) -> Instruction | None:
    if name in ("tbb", "tbh"):
        return Instruction(Kind.TABLE_BRANCH, address_reads=_all_registers(parts), returns=True)
    if name in ("cbz", "cbnz"):
        return Instruction(Kind.BRANCH, reads=_all_registers(parts[:1]), target=_target(parts[1]), conditional=True)
    if name == "bl":
        return Instruction(Kind.CALL, writes=frozenset({"lr"}), target=_target(parts[0]))
    if name == "blx":
        return Instruction(Kind.CALL, reads=_all_registers(parts), writes=frozenset({"lr"}))
    if name == "bx":
        return Instruction(Kind.BRANCH, reads=_all_registers(parts), returns=True)
    if name == "b" or (name[:1] == "b" and name[1:] in _CONDITIONS):
        return Instruction(Kind.BRANCH, target=_target(parts[0]), conditional=name != "b")
    return None


def _target(text: str) -> int | None:
    found = re.match(r"(?:0x)?([0-9a-f]+)\b", text)
    return int(found.group(1), 16) if found else None


def _memory(name: str, parts: list[str]) -> Instruction | None:
    if name in _STACK:
        return _multiple("pop" in name, "sp", True, parts[0])
    if _MULTIPLE.match(name):
        (base,) = _registers(parts[0])
        return _multiple("ldm" in name, base, parts[0].endswith("!"), parts[1])
    return _single(name, parts) if _MEMORY.match(name) else None


def _multiple(loads: bool, base: str, updates: bool, listed: str) -> Instruction:
    registers = frozenset(_registers(listed))
    bases = frozenset({base})
    made = Instruction(Kind.STORE_MULTIPLE, words=len(registers), address_reads=bases, base_writes=bases if updates else NO_REGISTERS)
    if loads:
        return replace(made, kind=Kind.LOAD_MULTIPLE, writes=registers, returns="pc" in registers)
    return replace(made, data_reads=registers)


def _single(name: str, parts: list[str]) -> Instruction:
    place = next((index for index, part in enumerate(parts) if part.startswith("[")), len(parts) - 1)
    data, address, after = parts[:place], parts[place], parts[place + 1 :]
    transferred = _all_registers(data)
    base = frozenset(_registers(address.split(",")[0]))
    updates = address.endswith("!") or bool(after)
    inside = _inside(address)
    made = Instruction(
        Kind.STORE,
        words=len(transferred),
        address_reads=_all_registers([*inside, *after]),
        base_writes=base if updates else NO_REGISTERS,
    )
    if "ldr" not in name:
        status = transferred if name.startswith("strex") else NO_REGISTERS
        return replace(made, kind=Kind.STORE if len(transferred) < 2 else Kind.STORE_MULTIPLE, data_reads=transferred, writes=status)
    if len(transferred) > 1:
        return replace(made, kind=Kind.LOAD_MULTIPLE, writes=transferred)
    offset = re.fullmatch(r"#(-?\d+)", ",".join(inside[1:]) or "#0")
    bank = (next(iter(base)), int(offset.group(1)) >> 2 & 1) if offset and base and base != {"pc"} and not updates else None
    return replace(made, kind=Kind.LOAD, writes=transferred, returns="pc" in transferred, bank=bank)


def _inside(address: str) -> list[str]:
    return [part.strip() for part in address.rstrip("!").strip("[]").split(",")]


def _float(name: str, parts: list[str]) -> Instruction:
    result, sources = _all_registers(parts[:1]), _all_registers(parts[1:])
    if name == "vmrs":
        return Instruction(Kind.FLOAT_MOVE, reads=frozenset({"fpscr"}), writes=frozenset({FLAGS}), words=1)
    if name in ("vcmp", "vcmpe"):
        return Instruction(Kind.FLOAT, reads=result | sources, writes=frozenset({"fpscr"}))
    if name == "vmov":
        count = 2 if len(parts) == 4 or (len(parts) == 3 and parts[0][:1] != "d") else 1
        moved = max(count, len(_all_registers(parts[count:])))
        return Instruction(Kind.FLOAT_MOVE, reads=_all_registers(parts[count:]), writes=_all_registers(parts[:count]), words=moved)
    if name in ("vdiv", "vsqrt"):
        return Instruction(Kind.FLOAT_DIVIDE, reads=sources, writes=result)
    if re.match(r"v(n?ml[as]|fn?m[as])$", name):
        return Instruction(Kind.FLOAT_MAC, reads=sources, writes=result, accumulator_reads=result)
    return Instruction(Kind.FLOAT, reads=sources or result, writes=result)


def _computation(name: str, parts: list[str]) -> Instruction:
    if name in ("sdiv", "udiv"):
        return Instruction(Kind.DIVIDE, reads=_all_registers(parts[-2:]), writes=_all_registers(parts[:1]))
    if name in _COMPARES:
        plain, shifted = _operands(parts)
        return Instruction(Kind.SHIFT if shifted else Kind.ALU, reads=plain, shifted_reads=shifted, writes=frozenset({FLAGS}))
    base = name[:-1] if name.endswith("s") and name[:-1] in _SETS_FLAGS else name
    flags = frozenset({FLAGS}) if base != name or _PARALLEL.match(base) else NO_REGISTERS
    if _MAC.match(base):
        return _multiplication(base, parts, flags)
    result = _all_registers(parts[:1])
    # A two-operand form reads its result, and so do those that change a part of it.
    reads_result = (len(parts) == 2 and base not in _UNARY) or base in ("movt", "bfi", "bfc")
    plain, shifted = _operands(parts if reads_result else parts[1:])
    plain |= frozenset({FLAGS}) if base in ("adc", "sbc", "rrx", "sel") else NO_REGISTERS
    writes = result | flags
    if base in _SHIFTED_SIMD:
        first = _all_registers(parts[1:2]) if base in ("pkhbt", "pkhtb") else NO_REGISTERS
        return Instruction(Kind.SIMD, reads=first, shifted_reads=(plain | shifted) - first, writes=writes)
    if _SIMD.match(base):
        return Instruction(Kind.SIMD, reads=plain | shifted, writes=writes)
    if "pc" in writes:
        return Instruction(Kind.BRANCH, reads=plain | shifted, returns=True)
    kind = Kind.SHIFT if shifted or base in _SHIFTS or base in ("bfi", "bfc") else Kind.ALU
    return Instruction(kind, reads=plain, shifted_reads=shifted, writes=writes)


def _operands(parts: list[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Registers read as they are, and those that a shift in the last part applies to."""
    if len(parts) > 1 and _SHIFT.match(parts[-1]):
        return _all_registers(parts[:-2]), _all_registers([parts[-2], parts[-1].split()[-1]])
    return _all_registers(parts), NO_REGISTERS


def _multiplication(name: str, parts: list[str], flags: frozenset[str]) -> Instruction:
    result = _all_registers(parts[:1])
    if _LONG.match(name):
        results = _all_registers(parts[:2])
        accumulators = NO_REGISTERS if name in ("smull", "umull") else results
        return Instruction(Kind.MAC, reads=_all_registers(parts[2:]), accumulator_reads=accumulators, writes=results)
    if len(parts) == 4:
        return Instruction(Kind.MAC, reads=_all_registers(parts[1:3]), accumulator_reads=_all_registers(parts[3:]), writes=result)
    return Instruction(Kind.MAC, reads=_all_registers(parts[1:] if len(parts) > 2 else parts), writes=result | flags)
