"""Runs a build in Unicorn, a core without a board, which needs no package of the system: the program is the one that QEMU runs.

While the network runs, every byte of memory but its arena and the stack below its caller is forbidden, flash is read-only, and instructions
that need alignment fault as they do in silicon.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn, Protocol

from tinyc.runners.aligned_accesses import instructions
from tinyc.runners.base import RunnerError, RunOptions, RunResult
from tinyc.runners.description import BuildDescription
from tinyc.runners.emulated import ELF_FILE, Machine, build_for_machine, machine_for
from tinyc.runners.harness import INPUT_FILE, OUTPUT_FILE, calls_of_sample, counts_of_samples, guard_bytes, interpret, row_offset
from tinyc.runners.io import Samples, decode_outputs, save_outputs
from tinyc.runners.semihosting import Semihosting
from tinyc.runners.unicorn_engine import (
    FPEXC,
    LR,
    REGISTERS,
    SP,
    STATUS_REGISTER,
    UC_HOOK_CODE,
    UC_HOOK_INTR,
    UC_HOOK_MEM_BAD,
    UC_HOOK_MEM_READ,
    UC_HOOK_MEM_WRITE,
    UC_MEM_FETCH_PROT,
    UC_MEM_FETCH_UNMAPPED,
    UC_MEM_READ_UNMAPPED,
    UC_MEM_WRITE,
    UC_MEM_WRITE_PROT,
    UC_MEM_WRITE_UNMAPPED,
    UC_PROT_EXEC,
    UC_PROT_READ,
    UC_PROT_WRITE,
    Engine,
    EngineError,
    find_unicorn,
)
from tinyc.toolchains.arm import find_arm_toolchain
from tinyc.toolchains.elf import Program
from tinyc.toolchains.native import find_native_compiler
from tinyc.toolchains.process import ToolOutput
from tinyc.toolchains.runtime_files import runtime_directory

MONITOR_FILE: Final = "unicorn_monitor.so"
INPUT_ARCHIVE: Final = "input.npz"
# Registers of the core itself: the start-up code switches the FPU on there, which Unicorn does not look at.
SYSTEM_CONTROL: Final = 0xE000E000
PAGE: Final = 4096
FPU_ENABLED: Final = 1 << 30
SLICE_INSTRUCTIONS: Final = 10_000_000
"""How many instructions Unicorn executes without Python: time limit and interrupts from the keyboard wait that long."""
WIDEST_ACCESS: Final = 8
LARGEST_PUSH: Final = 256

# enum mark and enum event of unicorn_monitor.c.
MARK_ALIGNED: Final = 0x10
MARK_IT: Final = 0x20
MARK_COUNTED: Final = 0x40
MARK_STOP: Final = 0x80
EVENT_NONE, EVENT_STOP, EVENT_UNALIGNED, EVENT_ZONE, EVENT_MEMORY, EVENT_INTERRUPT, EVENT_SLICE = range(7)
UNDEFINED_INSTRUCTION: Final = 1
INVALID_INSTRUCTION_ERROR: Final = 10
BAD_ACCESSES: Final = {
    UC_MEM_READ_UNMAPPED: "read from where there is no memory",
    UC_MEM_WRITE_UNMAPPED: "access to where there is no memory",
    UC_MEM_FETCH_UNMAPPED: "instruction fetch from where there is no memory",
    UC_MEM_WRITE_PROT: "write to flash, which is read-only",
    UC_MEM_FETCH_PROT: "instruction fetch from forbidden memory",
}


class Monitor(ctypes.Structure):
    """struct monitor of runtime/emulator/unicorn_monitor.c."""

    _fields_ = (
        ("instructions", ctypes.c_uint64),
        ("slice", ctypes.c_uint64),
        ("marks", ctypes.c_char_p),
        ("stop", ctypes.c_void_p),
        ("read_register", ctypes.c_void_p),
        ("write_register", ctypes.c_void_p),
        ("histogram", ctypes.c_void_p),
        ("code_start", ctypes.c_uint32),
        ("code_halfwords", ctypes.c_uint32),
        ("pc", ctypes.c_uint32),
        ("event", ctypes.c_uint32),
        ("address", ctypes.c_uint32),
        ("bytes", ctypes.c_uint32),
        ("detail", ctypes.c_uint32),
        ("passing", ctypes.c_uint32),
        ("armed", ctypes.c_uint32),
        ("exempt_start", ctypes.c_uint32),
        ("exempt_end", ctypes.c_uint32),
        ("register_identifiers", ctypes.c_int32 * 16),
        ("status_register", ctypes.c_int32),
    )


class HistogramRequest(Protocol):
    """What the monitor is to count besides; tinyc.runners.histogram makes one."""

    def address(self) -> int:
        """Of its struct histogram."""

    def begin(self, new_sample: bool) -> None:
        """Another call into the network; the first of a sample empties the histogram."""
        ...

    def watch_flash(self, engine: Engine, library: ctypes.CDLL, monitor: Monitor) -> None:
        """Sets up what it needs in the engine."""
        ...

    def watch_arenas(self, engine: Engine, library: ctypes.CDLL, monitor: Monitor, arenas: Sequence[tuple[int, int]]) -> None:
        """The same for the network's arenas: first and last-but-one address of each."""
        ...


class AccessCount(ctypes.Structure):
    """struct access_count of runtime/emulator/unicorn_monitor.c."""

    _fields_ = (("monitor", ctypes.c_void_p), ("counts", ctypes.c_void_p))


class Zone(ctypes.Structure):
    """struct zone of runtime/emulator/unicorn_monitor.c."""

    _fields_ = (("monitor", ctypes.c_void_p), ("start", ctypes.c_uint32), ("end", ctypes.c_uint32))


def run_on_unicorn(description: BuildDescription, samples: Samples, work_dir: Path, options: RunOptions) -> RunResult:
    """Compiles, links and runs the build on `samples` in `work_dir`.

    Raises UsageError for a build for the host, ToolError where Unicorn or a compiler is missing or fails, DoesNotFitError where the build
    is larger than the memory of the board that QEMU would have, RunnerError where the network faults, touches memory that is not its own,
    reports failure or runs past the time limit.
    """
    machine = machine_for(description, "Unicorn")
    find_unicorn()
    program = build_for_machine(description, machine, find_arm_toolchain(options.toolchain), work_dir)
    library = monitor_library(work_dir)
    data = samples.encode()
    (work_dir / INPUT_FILE).write_bytes(data)
    save_outputs(work_dir / INPUT_ARCHIVE, {f"input_{index}": array for index, array in enumerate(samples.arrays)})
    with Engine(description.core) as engine:
        run = UnicornRun(description, program, machine, engine, library, data)
        output = run.until_exit(options.timeout_seconds)
    (work_dir / OUTPUT_FILE).write_bytes(run.semihosting.outputs[OUTPUT_FILE])
    report = interpret(output, description, program.addresses(), "Unicorn")
    counts, notes = counts_of_samples(run.counts, description, samples.count, "Unicorn")
    again = ("tinyc", "run", str(description.directory.resolve()), "--runner", "unicorn", "--work-dir", ".", "--input", INPUT_ARCHIVE)
    return RunResult(
        outputs=decode_outputs(description, bytes(run.semihosting.outputs[OUTPUT_FILE]), samples),
        samples=samples.count,
        instructions=counts[-1],
        instructions_per_sample=counts,
        stack_bytes=report["stack_bytes"],
        elf=work_dir / ELF_FILE,
        command=(*again, *(("--toolchain", options.toolchain) if options.toolchain else ())),
        cwd=work_dir,
        runner="unicorn",
        notes=notes,
    )


def monitor_library(work_dir: Path) -> ctypes.CDLL:
    """The compiled unicorn_monitor.c, made in `work_dir`. Raises ToolError where this machine has no C compiler."""
    source = runtime_directory() / "emulator" / "unicorn_monitor.c"
    return ctypes.CDLL(str(find_native_compiler().shared_library(source, work_dir / MONITOR_FILE, ["-nostdlib"])))


def instruction_marks(program: Program) -> tuple[int, bytes]:
    """Address of the first instruction of `program`, and one mark for each halfword from there on; see unicorn_monitor.c."""
    code = program.thumb_code()
    start = min(address for address, _ in code)
    end = max(address + len(data) for address, data in code)
    marks = bytearray((end - start) // 2)
    for address, data in code:
        for instruction in instructions(data):
            place = (address + instruction.offset - start) // 2
            marks[place] |= MARK_COUNTED if instruction.conditional else 0
            marks[place] |= MARK_STOP if instruction.semihosting else 0
            marks[place] |= MARK_IT | instruction.guarded if instruction.guarded else 0
            marks[place] |= MARK_ALIGNED | instruction.base if instruction.base is not None else 0
    for name in ("tinyc_profile_begin", "tinyc_profile_end"):
        marks[(program.symbol(name).address - start) // 2] |= MARK_STOP
    return start, bytes(marks)


@dataclass
class UnicornRun:
    """One program in one engine, from reset to its exit."""

    description: BuildDescription
    program: Program
    machine: Machine
    engine: Engine
    library: ctypes.CDLL
    input_data: bytes
    histogram: HistogramRequest | None = None
    counts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        addresses = self.program.addresses()
        self.begin, self.end = addresses["tinyc_profile_begin"], addresses["tinyc_profile_end"]
        self.stack = addresses["_stack_start"], addresses["_stack_end"]
        guard = guard_bytes(self.description)
        starts = [addresses[f"tinyc_storage{arena.symbol}"] + guard for arena in self.description.arenas]
        self.arenas = [(start, start + arena.bytes) for start, arena in zip(starts, self.description.arenas, strict=True)]
        self.row = self._pushed_row(addresses)
        self.semihosting = Semihosting(self.engine.read, self.engine.write, {INPUT_FILE: self.input_data}, {OUTPUT_FILE: bytearray()})
        self.monitor = self._new_monitor()
        self._map_memory()
        self._forbid()
        if self.histogram is not None:
            self.histogram.watch_flash(self.engine, self.library, self.monitor)
            self.histogram.watch_arenas(self.engine, self.library, self.monitor, self.arenas)

    def _pushed_row(self, addresses: Mapping[str, int]) -> tuple[int, int] | None:
        """Where the row lies that is being pushed: the network may read it, and nothing else of its caller's."""
        pushed = self.description.pushed
        if pushed is None:
            return None
        start = addresses["tinyc_row_storage"] + row_offset(self.description)
        return start, start + pushed.row_bytes

    def _new_monitor(self) -> Monitor:
        start, marks = instruction_marks(self.program)
        monitor = Monitor(marks=marks, code_start=start, code_halfwords=len(marks))
        monitor.stop = self.engine.function_address("uc_emu_stop")
        monitor.read_register = self.engine.function_address("uc_reg_read")
        monitor.write_register = self.engine.function_address("uc_reg_write")
        monitor.register_identifiers[:] = list(REGISTERS)
        monitor.status_register = STATUS_REGISTER
        return monitor

    def _map_memory(self) -> None:
        machine, engine = self.machine, self.engine
        engine.map(machine.flash.start, machine.flash.bytes, UC_PROT_READ | UC_PROT_EXEC)
        engine.map(SYSTEM_CONTROL, PAGE, UC_PROT_READ | UC_PROT_WRITE)
        for bank in self._ram():
            engine.map(bank[0], bank[1] - bank[0], UC_PROT_READ | UC_PROT_WRITE)
        for segment in self.program.segments:
            engine.write(segment.address, segment.data)
        engine.set_register(FPEXC, FPU_ENABLED)
        engine.set_register(SP, self.stack[1])

    def _ram(self) -> list[tuple[int, int]]:
        """First and last-but-one address of each bank that the program uses."""
        banks = [(bank.start, bank.end) for bank in (self.machine.sram, self.machine.psram)]
        return [
            bank for bank in banks if any(bank[0] <= start < bank[1] for start in (self.stack[0], *(arena[0] for arena in self.arenas)))
        ]

    def _forbid(self) -> None:
        hook, library, monitor = self.engine.hook, self.library, self.monitor
        hook(UC_HOOK_CODE, library.tinyc_on_instruction, monitor)
        hook(UC_HOOK_MEM_BAD, library.tinyc_on_bad_memory, monitor)
        hook(UC_HOOK_INTR, library.tinyc_on_interrupt, monitor)
        readable = [] if self.row is None else [self.row]
        for start, end in self._ram():
            for allowed_start, allowed_end in sorted([self.stack, *self.arenas, *readable]):
                if start <= allowed_start < end:
                    self._forbid_zone(start, allowed_start)
                    start = allowed_end
            self._forbid_zone(start, end)
        for start, end in readable:
            self._forbid_zone(start, end, UC_HOOK_MEM_WRITE)

    def _forbid_zone(self, start: int, end: int, accesses: int = UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE) -> None:
        if start < end:
            zone = Zone(ctypes.addressof(self.monitor), start, end)
            first = max(0, start - (WIDEST_ACCESS - 1))
            self.engine.hook(accesses, self.library.tinyc_on_zone, zone, first, end - 1)

    def until_exit(self, timeout_seconds: float) -> ToolOutput:
        """Runs the program to its end: its exit code and what it printed. Raises RunnerError."""
        deadline = time.monotonic() + timeout_seconds
        pc = self.program.entry
        while self.semihosting.status is None:
            self.monitor.event, self.monitor.slice = EVENT_NONE, SLICE_INSTRUCTIONS
            try:
                self.engine.start(pc)
            except EngineError as error:
                self._refuse(error)
            if self.monitor.event == EVENT_STOP:
                pc = self._pass(self.monitor.pc)
            elif self.monitor.event == EVENT_SLICE:
                pc = self.monitor.pc
            else:
                self._refuse(None)
            if time.monotonic() >= deadline:
                raise RunnerError(f"{self.description.entry_point} did not end within {timeout_seconds:g} seconds in Unicorn")
        return ToolOutput(self.semihosting.status, self.semihosting.console.decode("latin-1"), "")

    def _pass(self, pc: int) -> int:
        """Does what is to be done at the marked instruction at `pc`; where to go on."""
        self.monitor.passing = 1
        if pc == self.begin:
            self._protect_caller()
            self.monitor.instructions = 0
            self.monitor.armed = 1
            if self.histogram is not None:
                self.histogram.begin(len(self.counts) % calls_of_sample(self.description) == 0)
                self.monitor.histogram = self.histogram.address()
            return pc
        if pc == self.end:
            self.counts.append(self.monitor.instructions)
            self.monitor.armed = 0
            self.monitor.histogram = None
            return pc
        self.monitor.passing = 0
        registers = REGISTERS[0], REGISTERS[1]
        try:
            self.engine.set_register(registers[0], self.semihosting.call(*(self.engine.register(number) for number in registers)))
        except EngineError as error:
            raise RunnerError(f"a semihosting call of {self._place(pc)} names memory that is not there: {error}") from error
        return pc + 2

    def _protect_caller(self) -> None:
        """Forbids the stack from the caller's frame up; the caller itself may use it."""
        caller = self.program.function_at(self.engine.register(LR) & ~1)
        if self.monitor.exempt_end == 0 and caller is not None:
            self.monitor.exempt_start, self.monitor.exempt_end = caller.address, caller.address + caller.bytes
            self._forbid_zone(self.engine.register(SP), self.stack[1])

    def _refuse(self, error: EngineError | None) -> NoReturn:
        """Raises RunnerError saying what the program did."""
        monitor, function = self.monitor, self.description.entry_point
        address = monitor.address
        where = f"in {self._place(monitor.pc)} (pc {monitor.pc:#010x}, lr {self.engine.register(LR):#010x}, address {address:#010x})"
        if monitor.event == EVENT_ZONE:
            verb = "wrote" if monitor.detail == UC_MEM_WRITE else "read"
            sample = len(self.counts) // calls_of_sample(self.description)
            raise RunnerError(f"{function} {verb} outside {self._arena_place(address)}, in sample {sample}, {where}")
        if monitor.event == EVENT_UNALIGNED:
            raise RunnerError(f"{function} faulted: unaligned access by an instruction that needs alignment {where}")
        if monitor.event == EVENT_MEMORY:
            full = self.stack[0] - LARGEST_PUSH <= address < self.stack[0] or self.engine.register(SP) < self.stack[0]
            cause = "the stack is full" if full else BAD_ACCESSES.get(monitor.detail, "access to forbidden memory")
            raise RunnerError(f"{function} faulted: {cause} {where}")
        undefined = error is not None and error.code == INVALID_INSTRUCTION_ERROR
        undefined |= monitor.event == EVENT_INTERRUPT and monitor.detail == UNDEFINED_INSTRUCTION
        other = f"exception {monitor.detail}" if monitor.event == EVENT_INTERRUPT else str(error)
        raise RunnerError(f"{function} faulted: {'undefined instruction' if undefined else other} {where}")

    def _arena_place(self, address: int) -> str:
        """Which arena `address` is nearest to, and how far it is from that."""
        distances = [max(start - address, address - end, 0) for start, end in self.arenas]
        number = distances.index(min(distances))
        start, end = self.arenas[number]
        title = self.description.arenas[number].title
        if self.stack[0] <= address < self.stack[1]:
            return f"{title}: in the stack of its caller"
        return f"{title}: {start - address} bytes before its start" if address < start else f"{title}: {address - end} bytes behind its end"

    def _place(self, pc: int) -> str:
        function = self.program.function_at(pc)
        return function.name if function is not None else "unknown code"
