"""Runs a build on this machine: the portable path of the generated C, for answers without an emulator."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from tinyc.errors import ToolError
from tinyc.runners.base import RunnerError, RunOptions, RunResult
from tinyc.runners.description import BuildDescription
from tinyc.runners.harness import INPUT_FILE, OUTPUT_FILE, interpret, is_current, mark_current, write_harness
from tinyc.runners.io import Samples, decode_outputs
from tinyc.toolchains.gcc_arm import DEFAULT_FLAGS
from tinyc.toolchains.native import NativeCompiler, find_native_compiler
from tinyc.toolchains.process import ToolTimeoutError, execute

PROGRAM_FILE: Final = "harness"
RUNTIME_SOURCES: Final = ("harness/platform_host.c",)
# Binding library functions at the first call would cost stack that the network has no part in.
LINK_FLAGS: Final = ("-pthread", "-Wl,-z,now") if sys.platform == "linux" else ("-pthread",)
# gcc in C99 mode rounds after each operation; other compilers must be told, or a*b+c would be rounded once instead of twice.
FLAGS: Final = (*DEFAULT_FLAGS, "-ffp-contract=off", "-pthread")
# The first finding ends the program. Nothing is optimised: what the optimiser removes cannot be found, and it takes four times as long.
SANITIZERS: Final = ("-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-DTINYC_SANITIZE=1")


def run_on_host(description: BuildDescription, samples: Samples, work_dir: Path, options: RunOptions) -> RunResult:
    """Compiles and runs the build on `samples` in `work_dir`. Instructions are not counted; the stack is that of this machine's code.

    With `options.sanitize` AddressSanitizer and UndefinedBehaviorSanitizer check the network, the guard zones around the arena are
    poisoned, so that reading them is found as well, and the stack is not measured.

    Raises ToolError where there is no C compiler or it fails, RunnerError where the network crashes, leaves its arena, reports failure,
    runs past the time limit, or a sanitizer finds something.
    """
    program_path = _build_program(description, find_native_compiler(), work_dir, options.sanitize)
    (work_dir / INPUT_FILE).write_bytes(samples.encode())
    (work_dir / OUTPUT_FILE).unlink(missing_ok=True)
    command = (f"./{PROGRAM_FILE}",)
    try:
        output = execute(command, cwd=work_dir, timeout_seconds=options.timeout_seconds)
    except ToolTimeoutError as error:
        raise RunnerError(f"{description.entry_point} did not end within {options.timeout_seconds:g} seconds on the host") from error
    report = interpret(output, description, {}, "the host program")
    stack_bytes = -1 if options.sanitize else report["stack_bytes"]
    checked = "checked by AddressSanitizer and UndefinedBehaviorSanitizer; neither instructions nor stack are measured"
    plain = "instructions are not counted on the host; the stack is that of the host's code"
    return RunResult(
        outputs=decode_outputs(description, (work_dir / OUTPUT_FILE).read_bytes(), samples),
        samples=samples.count,
        instructions=None,
        instructions_per_sample=(),
        stack_bytes=stack_bytes if stack_bytes >= 0 else None,
        elf=program_path,
        command=command,
        cwd=work_dir,
        runner="host",
        notes=(checked if options.sanitize else plain,),
    )


def _build_program(description: BuildDescription, compiler: NativeCompiler, work_dir: Path, sanitize: bool) -> Path:
    if sanitize and compiler.is_zig:
        raise ToolError("zig has no AddressSanitizer; --sanitize needs gcc or clang: on Debian or Ubuntu install the package gcc")
    sanitizers = SANITIZERS if sanitize else ()
    flags, link_flags = (*FLAGS, description.optimization, *sanitizers), (*LINK_FLAGS, *sanitizers)
    program = write_harness(description, work_dir, RUNTIME_SOURCES, [*compiler.command, compiler.version(), *flags, *link_flags])
    path = work_dir / PROGRAM_FILE
    if not is_current(work_dir, program, path):
        objects = program.compile(compiler.compile, work_dir / "objects", flags)
        compiler.link(objects, path, link_flags)
        mark_current(work_dir, program, path)
    return path
