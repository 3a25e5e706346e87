"""The Python interface: load a model, compile it, write the C, run and verify it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xdsl.dialects.builtin import ModuleOp

from tinyc.driver.compile import CompiledNetwork, compile_module
from tinyc.driver.pipeline import CompileOptions
from tinyc.driver.write import write_build
from tinyc.errors import UsageError
from tinyc.frontends.load import load_model
from tinyc.passes.fold_constants import profile_of
from tinyc.passes.manager import Instruments
from tinyc.passes.registry import Insertion
from tinyc.report.memory import MemoryReport
from tinyc.report.text import report_text
from tinyc.runners import RunResult, run_build
from tinyc.runners.base import Array
from tinyc.targets import Target, load_target, load_target_file


@dataclass(frozen=True)
class Compiled:
    """A network compiled for one target."""

    network: CompiledNetwork

    @property
    def name(self) -> str:
        """Prefix of all C names."""
        return self.network.name

    @property
    def files(self) -> Mapping[str, str]:
        """Texts of the build folder by file name."""
        return self.network.files

    @property
    def report(self) -> MemoryReport:
        """What the network needs, as data."""
        return self.network.report

    def memory_report(self) -> str:
        """The memory report as text."""
        return report_text(self.network.report)

    def write(self, folder: str | Path) -> Path:
        """Writes the build folder, replacing an earlier build in it. Raises OutputError."""
        write_build(self.network.files, Path(folder))
        return Path(folder)


@dataclass(frozen=True)
class Model:
    """A loaded network in the `nn` dialect."""

    name: str
    module: ModuleOp

    def compile(
        self,
        target: str | Target = "cortex-m7",
        *,
        numerics: str = "litert",
        name: str | None = None,
        keep_float_io: bool = False,
        passes: str | None = None,
        measure: bool = True,
        insertions: Sequence[Insertion] = (),
        instruments: Instruments | None = None,
    ) -> Compiled:
        """C for `target` (a name from `tinyc targets`, or a Target).

        `numerics` is litert or tflm; `name` the prefix of all C names; `passes` replaces the pipeline; `measure` asks the target's
        compiler, if installed, for code and stack bytes. Raises UsageError, UnsupportedError, PassError, DoesNotFitError, ToolError.
        """
        chosen = load_target(target) if isinstance(target, str) else target
        options = CompileOptions(profile_of(numerics), name, keep_float_io, passes, measure)
        return Compiled(compile_module(self.module, self.name, chosen, options, insertions, instruments))


def load(path: str | Path) -> Model:
    """The model in the file `path` (int8 TFLite, or IR text in a .mlir file). Raises ModelError and UnsupportedError."""
    return Model(Path(path).stem, load_model(Path(path)))


def find_target(name: str | None, file: str | Path | None) -> Target:
    """A built-in target by name, or the one in a TOML file. Raises UsageError unless exactly one is given, or it is not valid."""
    if (name is None) == (file is None):
        raise UsageError("give a target: either -t NAME (see `tinyc targets`) or --target-file FILE")
    return load_target(name) if name is not None else load_target_file(Path(str(file)))


def run(folder: str | Path, runner: str = "qemu", inputs: Mapping[str, Array] | None = None) -> RunResult:
    """Runs a build folder on `inputs` (`input_0`, ...; see tinyc.runners.run_build). Raises ModelError, ToolError, RunnerError."""
    return run_build(Path(folder), runner, inputs or {})
