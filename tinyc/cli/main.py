"""The `tinyc` command: lazy verbs, errors as one line, documented exit codes."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from types import FrameType

import click

from tinyc.errors import TinycError, printable
from tinyc.version import VERSION

EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

VERBS = {
    "bench": ("tinyc.cli.bench", "bench_command", "Table instructions, RAM and flash of models, on several targets."),
    "check": ("tinyc.cli.check", "check_command", "Say whether a model is supported and what it needs, without writing anything."),
    "compile": ("tinyc.cli.compile", "compile_command", "Compile a model to C for a microcontroller."),
    "doctor": ("tinyc.cli.doctor", "doctor_command", "Say which tools are installed, and how to get the missing ones."),
    "memory-report": ("tinyc.cli.memory_report", "memory_report_command", "Show what a network needs of RAM and flash, layer by layer."),
    "opt": ("tinyc.cli.opt", "opt_command", "Run compiler passes over IR text or a model and print the IR."),
    "ops": ("tinyc.cli.ops", "ops_command", "List the supported operators and their constraints."),
    "pareto": ("tinyc.cli.pareto", "pareto_command", "Show what RAM buys in instructions, each point with the flag that compiles it."),
    "passes": ("tinyc.cli.passes", "passes_command", "List the compiler passes."),
    "profile": ("tinyc.cli.profile", "profile_command", "Count the instructions of each layer and estimate their cycles."),
    "quantize": ("tinyc.cli.quantize", "quantize_command", "Quantise a float ONNX model to int8 ONNX, with calibration data."),
    "run": ("tinyc.cli.run", "run_command", "Run a build folder in an emulator or on this machine."),
    "targets": ("tinyc.cli.targets", "targets_command", "List the microcontrollers that tinyc knows."),
    "verify": ("tinyc.cli.verify", "verify_command", "Compare the C in an emulator with the desktop, bit for bit."),
    "zoo": ("tinyc.cli.zoo", "zoo_command", "List networks that need no download, and make one as an ONNX file."),
}


class LazyGroup(click.Group):
    """Imports a verb only when it is used, so that `tinyc --help` does not load the compiler."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, attribute, _ = VERBS[cmd_name]
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, text) for verb, (_, _, text) in VERBS.items()])


EPILOG = (
    "Exit codes: 0 success; 1 refused (model, tool, output) or mismatch; 2 wrong usage; 3 does not fit the target; "
    "130 interrupted. TINYC_TRACEBACK=1 shows where an error was raised."
)


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(VERSION, prog_name="tinyc", message="%(prog)s %(version)s")
def cli() -> None:
    """Compile int8 neural networks to C for microcontrollers, bit-exact and planned to the byte."""


def _terminate(signum: int, frame: FrameType | None) -> None:
    # Unwinds the stack, so that temporary files go.
    raise SystemExit(EXIT_TERMINATED)


def main() -> None:
    """Entry point of the `tinyc` script."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run_cli(sys.argv[1:]))


def run_cli(arguments: list[str]) -> int:
    """Runs the command line and returns its exit code; every error is one line (or the list that it carries) on standard error."""
    debugging = bool(os.environ.get("TINYC_TRACEBACK"))
    try:
        result = cli.main(arguments, prog_name="tinyc", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.UsageError as error:
        verb = error.ctx.command_path if error.ctx is not None else "tinyc"
        return _fail(f"{error.format_message()} (see {verb} --help)", 2)
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output went away; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except TinycError as error:
        if debugging:
            raise
        return _fail(str(error), error.exit_code)
    except (Exception, RecursionError) as error:
        if debugging:
            raise
        kind = "out of memory" if isinstance(error, MemoryError) else f"internal error: {type(error).__name__}: {printable(error)}"
        return _fail(f"{kind}; this is a bug in tinyc: please report it with the output of TINYC_TRACEBACK=1", 1)


def _fail(message: str, code: int) -> int:
    click.echo(f"error: {message}", err=True)
    return code
