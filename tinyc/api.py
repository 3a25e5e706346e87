"""The Python interface: load a model, compile it, write the C, run and verify it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xdsl.dialects.builtin import ModuleOp, StringAttr

from tinyc.driver.account import approximate_layers
from tinyc.driver.budgets import OPTIMIZE, Request, compile_optimized
from tinyc.driver.check import CheckResult, check_module
from tinyc.driver.compile import CompiledNetwork, check_fit
from tinyc.driver.pareto import POINTS, pareto_curve
from tinyc.driver.pipeline import CompileOptions, core_form
from tinyc.driver.remedies import tried_remedies
from tinyc.driver.write import write_build
from tinyc.errors import UsageError, printable
from tinyc.frontends.load import load_model
from tinyc.numerics.profile import Profile
from tinyc.passes.channels_last import BOUNDARIES, ChannelsLast
from tinyc.passes.fold_constants import profile_of
from tinyc.passes.manager import Instruments, run_passes
from tinyc.passes.pins import parse_pins
from tinyc.passes.plan_memory import SOLVERS
from tinyc.passes.registry import Insertion
from tinyc.quantize.options import Progress, QuantizeOptions, no_progress
from tinyc.report.choices import Explanation
from tinyc.report.curve import Curve
from tinyc.report.memory import MemoryReport, Remedy
from tinyc.report.text import report_text
from tinyc.runners import RunResult, run_build
from tinyc.runners.base import Array
from tinyc.targets import Target, load_target, load_target_file
from tinyc.targets.banks import parse_banks


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

    @property
    def explanation(self) -> Explanation:
        """What was chosen for each layer, among what, and why."""
        return self.network.explanation

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

    @property
    def default_numerics(self) -> str:
        """Whose arithmetic the model's format asks for: onnxruntime for an ONNX file, otherwise litert."""
        return default_numerics(self.module)

    @property
    def approximate_layers(self) -> tuple[str, ...]:
        """Names of the layers that are computed in integers where ONNX Runtime computes in float32; see `load`."""
        return approximate_layers(self.module)

    def compile(
        self,
        target: str | Target = "cortex-m7",
        *,
        numerics: str | None = None,
        name: str | None = None,
        keep_float_io: bool = False,
        passes: str | None = None,
        measure: bool = True,
        optimize: str = OPTIMIZE[0],
        planner: str = SOLVERS[0],
        stream_input: bool = False,
        banks: str | None = None,
        ram_bytes: int | None = None,
        pins: Sequence[str] = (),
        insertions: Sequence[Insertion] = (),
        instruments: Instruments | None = None,
        progress: Progress = no_progress,
    ) -> Compiled:
        """C for `target` (a name from `tinyc targets`, or a Target).

        `numerics` is litert, tflm or onnxruntime, by default `default_numerics`; `name` the prefix of all C names; `passes` replaces the
        pipeline; `measure` asks the target's compiler, if installed, for code and stack bytes; `optimize` is ram (the least RAM),
        speed (the fewest instructions that the target's RAM allows, by an estimate), size (the least code) or balanced (hardly more than
        the least RAM, for most of the speed); `progress` is told how far the search for speed is; `planner` is greedy or exact
        (tinyc[exact]); with `stream_input` the C takes its input row by row and keeps no more rows of it than it needs; `pins` are choices
        about single layers, such as conv2d_3:weights=int16, by the names in `Compiled.explanation`; `banks` spreads the buffers over RAM
        banks, see parse_banks; `ram_bytes` is what the network may use of the RAM, in banks all arenas and the stack together.

        Raises UsageError, UnsupportedError, PassError, DoesNotFitError, ToolError.
        """
        chosen = load_target(target) if isinstance(target, str) else target
        spread = parse_banks(banks, chosen) if banks is not None else ()
        if banks is None:
            chosen = limited(chosen, ram_bytes, None)
        elif ram_bytes is not None:
            check_total(chosen, ram_bytes)
        if optimize not in OPTIMIZE:
            raise UsageError(f"optimize must be one of {', '.join(OPTIMIZE)}, got {printable(optimize)}")
        profile = profile_of(numerics or self.default_numerics)
        options = CompileOptions(
            profile,
            name,
            keep_float_io,
            passes,
            measure,
            planner=planner,
            stream_input=stream_input,
            banks=spread,
            ram_limit=ram_bytes if banks is not None else None,
            core=core_form(chosen),
            pins=parse_pins(pins),
        )
        request = Request(self.module, self.name, chosen, insertions, instruments)
        network = compile_optimized(request, options, optimize, progress)
        check_fit(network.report)
        return Compiled(network)

    def pareto(
        self,
        target: str | Target = "cortex-m7",
        *,
        numerics: str | None = None,
        points: int = POINTS,
        count: bool = True,
        measure: bool = True,
        banks: str | None = None,
        pins: Sequence[str] = (),
        progress: Progress = no_progress,
    ) -> Curve:
        """Peak RAM against instructions (Cortex-M7: estimated cycles), from the least RAM to the fastest; at most `points` points.

        `count` counts the instructions in QEMU where it is installed, otherwise they are estimated; `measure` adds the stack, where
        arm-none-eabi-gcc is installed; `banks` and `pins` are those of `compile`, and all points have them. Raises UsageError,
        UnsupportedError, PassError, DoesNotFitError, ToolError.
        """
        chosen = load_target(target) if isinstance(target, str) else target
        options = CompileOptions(
            profile_of(numerics or self.default_numerics),
            measure=measure,
            banks=parse_banks(banks, chosen) if banks is not None else (),
            core=core_form(chosen),
            pins=parse_pins(pins),
        )
        return pareto_curve(Request(self.module, self.name, chosen), options, points, count, progress)

    def remedies(
        self,
        report: MemoryReport,
        target: str | Target = "cortex-m7",
        *,
        numerics: str | None = None,
        stream_input: bool = False,
        banks: str | None = None,
        pins: Sequence[str] = (),
    ) -> tuple[Remedy, ...]:
        """Options that make the arena of `report`, which `compile` gave for `target` under its other defaults, smaller; they are tried.

        With `banks` they make all arenas together smaller.
        """
        chosen = load_target(target) if isinstance(target, str) else target
        options = CompileOptions(
            profile_of(numerics or self.default_numerics),
            stream_input=stream_input,
            banks=parse_banks(banks, chosen) if banks is not None else (),
            core=core_form(chosen),
            pins=parse_pins(pins),
        )
        return tried_remedies(self.module, options, report)

    def check(
        self,
        target: str | Target = "cortex-m7",
        *,
        numerics: str | None = None,
        stream_input: bool = False,
        banks: str | None = None,
        pins: Sequence[str] = (),
    ) -> CheckResult:
        """What the network is made of and needs on `target`. Raises UnsupportedError and PassError, but not DoesNotFitError."""
        chosen = load_target(target) if isinstance(target, str) else target
        spread = parse_banks(banks, chosen) if banks is not None else ()
        options = CompileOptions(
            profile_of(numerics or self.default_numerics),
            stream_input=stream_input,
            banks=spread,
            core=core_form(chosen),
            pins=parse_pins(pins),
        )
        return check_module(self.module, self.name, chosen, options)


def default_numerics(module: ModuleOp) -> str:
    """The numerics profile that a front end recorded in `module`, otherwise litert."""
    recorded = module.attributes.get("default_numerics")
    return recorded.data if isinstance(recorded, StringAttr) else Profile.LITERT.value


def load(path: str | Path, shapes: Mapping[str, Sequence[int]] | None = None, layout: str = "nhwc", approximate: bool = False) -> Model:
    """The model in the file `path`: int8 TFLite, quantised ONNX, or IR text in a .mlir file.

    For ONNX, `shapes` gives inputs other shapes by name, and `layout` (nhwc or nchw) is the order of dimensions in which the C takes and
    gives images. With `approximate`, layers that ONNX Runtime computes in float32 are computed by integer rules, so that results there
    may differ from its, and `Model.approximate_layers` lists them; they are refused otherwise.

    Raises ModelError, UnsupportedError, and UsageError, also where one of these is given for another format.
    """
    fixed = None if shapes is None else {name: tuple(shape) for name, shape in shapes.items()}
    return Model(Path(path).stem, _arranged(load_model(Path(path), fixed, approximate), layout))


def _arranged(module: ModuleOp, layout: str) -> ModuleOp:
    """`module` with channels last inside, and images in `layout` at its boundary, where it came from ONNX."""
    if layout not in BOUNDARIES:
        raise UsageError(f"the layout must be {' or '.join(BOUNDARIES)}, got {printable(layout)}")
    if "source_format" in module.attributes:
        run_passes(module, [ChannelsLast(layout)])
    elif layout != BOUNDARIES[0]:
        raise UsageError("only ONNX models have images in the order nchw")
    return module


def load_quantized(
    path: str | Path,
    calibration: str | Path,
    options: QuantizeOptions | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    progress: Progress = no_progress,
    layout: str = "nhwc",
    approximate: bool = False,
) -> Model:
    """The float ONNX model in the file `path`, quantised with the samples in the npz archive `calibration`.

    `shapes` fixes free input dimensions; `layout` and `approximate` are those of `load`.

    Raises ModelError, UnsupportedError, and ToolError where ONNX Runtime is missing.
    """
    # Loads the onnx package, which compiling a quantised network shall not.
    from tinyc.quantize.post_training import quantize_file

    chosen = options if options is not None else QuantizeOptions(compare=False)
    quantized = quantize_file(Path(path), Path(calibration), chosen, shapes=shapes, progress=progress)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{Path(path).stem}.onnx"
        file.write_bytes(quantized.model.SerializeToString())
        return Model(Path(path).stem, _arranged(load_model(file, approximate=approximate), layout))


def find_target(name: str | None, file: str | Path | None) -> Target:
    """A built-in target by name, or the one in a TOML file. Raises UsageError unless exactly one is given, or it is not valid."""
    if (name is None) == (file is None):
        raise UsageError("give a target: either -t NAME (see `tinyc targets`) or --target-file FILE")
    return load_target(name) if name is not None else load_target_file(Path(str(file)))


def limited(target: Target, ram_bytes: int | None, flash_bytes: int | None) -> Target:
    """`target` with tighter limits. Raises UsageError where one is above what the target has."""
    for what, limit, there in (("RAM", ram_bytes, target.ram_bytes), ("flash", flash_bytes, target.flash_bytes)):
        if limit is not None and limit > there:
            raise UsageError(f"a budget of {limit} bytes of {what} is more than the {there} that {target.name} has")
    return replace(target, ram_bytes=ram_bytes or target.ram_bytes, flash_bytes=flash_bytes or target.flash_bytes)


def check_total(target: Target, ram_bytes: int) -> None:
    """Raises UsageError where `ram_bytes` are more than all banks of `target` have together; the host's have no size."""
    there = sum(bank.bytes for bank in target.banks)
    if not target.is_host and ram_bytes > there:
        raise UsageError(f"a budget of {ram_bytes} bytes of RAM is more than the {there} that the banks of {target.name} have together")


def run(folder: str | Path, runner: str = "qemu", inputs: Mapping[str, Array] | None = None) -> RunResult:
    """Runs a build folder on `inputs` (`input_0`, ...; see tinyc.runners.run_build). Raises ModelError, ToolError, RunnerError."""
    return run_build(Path(folder), runner, inputs or {})
