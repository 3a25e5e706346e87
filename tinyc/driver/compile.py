"""Compilation: a module of the `nn` level and a target to a compiled network in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr

from tinyc.backends.cortexm.emit import ARENA_ALIGNMENT, EmitOptions, Region, boundary, emit_files, entry_point, with_stack_bound
from tinyc.backends.cortexm.estimate import core_of
from tinyc.backends.cortexm.kernel_attr import decode_kernel
from tinyc.backends.cortexm.names import bank_field, c_prefix
from tinyc.backends.cortexm.program import call_function, step_function
from tinyc.driver.account import integer_attribute, memory_report
from tinyc.driver.measure import measure
from tinyc.driver.pipeline import CompileOptions, pipeline
from tinyc.errors import DoesNotFitError, UsageError, printable
from tinyc.ir.mcu import StreamOp
from tinyc.ir.schedule import steps_of
from tinyc.ir.text import make_context
from tinyc.passes.choices import RecordingContext
from tinyc.passes.manager import Instruments, PassTime, run_passes
from tinyc.passes.pins import attach_pins, check_pipeline, layer_names
from tinyc.passes.registry import Insertion, insert_passes
from tinyc.report.choices import Explanation, Layer, final_choices
from tinyc.report.memory import MemoryReport
from tinyc.targets import Target
from tinyc.toolchains.gcc_arm import FAST, SMALL
from tinyc.version import VERSION

DTYPES = {"i8": "int8", "i32": "int32", "i64": "int64", "f32": "float32"}


@dataclass(frozen=True)
class CompiledNetwork:
    """C for one network and one target, in memory: `files` by name, report.json among them, and the report as data."""

    name: str
    files: dict[str, str]
    report: MemoryReport
    module: ModuleOp
    pass_times: Sequence[PassTime]
    explanation: Explanation


def compile_module(
    module: ModuleOp,
    model_name: str,
    target: Target,
    options: CompileOptions,
    insertions: Sequence[Insertion] = (),
    instruments: Instruments | None = None,
    *,
    must_fit: bool = True,
    measure_hopeless: bool = True,
) -> CompiledNetwork:
    """Runs the pipeline over a copy of `module` and emits C; with `must_fit` off also for a target that is too small.

    Without `measure_hopeless` the compiler is not asked for the code of a network whose weights alone exceed the flash.

    Raises UsageError (no C name, bad pipeline), UnsupportedError, PassError, DoesNotFitError when arena and weights, or what the compiler
    measures, exceed the target.
    """
    name = c_prefix(options.name if options.name is not None else model_name)
    scheduled = module.clone()
    passes = insert_passes(pipeline(options), insertions)
    check_pipeline(options.pins, [entry.name for entry in passes])
    attach_pins(scheduled, options.pins)
    context = RecordingContext()
    times = run_passes(scheduled, passes, instruments, make_context(context))
    if not any(isinstance(op, StreamOp) for op in scheduled.ops) or "arena_bytes" not in scheduled.attributes:
        raise UsageError("the pass pipeline leaves no planned schedule: it must contain select-kernels and plan-memory")
    report = memory_report(scheduled, name, target, options.numerics.value)
    if options.ram_limit is not None:
        report = replace(report, ram_limit_bytes=min(options.ram_limit, report.ram_limit_bytes or options.ram_limit))
    if must_fit:
        check_fit(report)
    regions = network_boundary(scheduled)
    sha256 = scheduled.attributes.get("source_sha256")
    emit_options = EmitOptions(
        name,
        target.name,
        options.numerics.value,
        sha256.data if isinstance(sha256, StringAttr) else "unknown",
        target.gcc_flags,
        SMALL if options.compact else FAST,
    )
    arena_bytes = integer_attribute(scheduled, "arena_bytes")
    files = emit_files(scheduled, regions, arena_bytes, emit_options)
    entry = entry_point(name, any(region.rows for region in regions))
    if options.measure and not target.is_host and (measure_hopeless or not exceeds_flash(report)):
        measured = measure(files, name, entry, target, emit_options.optimization)
        if measured is not None:
            report = replace(
                report,
                ram=replace(report.ram, static_bytes=measured.static_bytes, stack_bytes=measured.stack_bytes),
                flash=replace(report.flash, code_bytes=measured.code_bytes),
            )
            if must_fit:
                check_fit(report)
    files[f"{name}.h"] = with_stack_bound(files[f"{name}.h"], name, entry, report.ram.stack_bytes)
    files["report.json"] = report_json(report, target, regions, files, emit_options, call_records(scheduled, name))
    unit = core_of(scheduled).cost_unit
    explanation = Explanation(name, target.name, options.numerics.value, layers_of(scheduled), final_choices(context.choices), unit)
    return CompiledNetwork(name, files, report, scheduled, times, explanation)


def layers_of(module: ModuleOp) -> tuple[Layer, ...]:
    """All layers of a scheduled module, by the names that pins have."""
    return tuple(
        Layer(name, call.ops_text, call.layers_text, decode_kernel(call.kernel).family) for call, name in layer_names(module).items()
    )


def network_boundary(module: ModuleOp) -> list[Region]:
    """Inputs, then outputs."""

    def names(attribute: str) -> list[str]:
        found = module.attributes.get(attribute)
        return [item.data for item in found.data if isinstance(item, StringAttr)] if isinstance(found, ArrayAttr) else []

    inputs, outputs = names("input_names"), names("output_names")
    known = [f"input_{index}" for index in range(256)], [f"output_{index}" for index in range(256)]
    return [*boundary(module, inputs or known[0], True), *boundary(module, outputs or known[1], False)]


def check_fit(report: MemoryReport) -> None:
    """Raises DoesNotFitError saying by how much RAM or flash is exceeded, and which layer sets the peak."""
    problems = []
    if not report.banks and report.ram_limit_bytes is not None and report.ram.total_bytes > report.ram_limit_bytes:
        peak, excess = report.peak_layer, report.ram.total_bytes - report.ram_limit_bytes
        problems.append(
            f"RAM: needs {report.ram.total_bytes} bytes, {report.target} has {report.ram_limit_bytes}: {excess} too many; "
            f"the peak is set by step {peak.step}, {peak.op} {printable(peak.name, 60)}"
        )
    problems += _bank_problems(report) or _sum_problems(report)
    if report.flash_limit_bytes is not None and report.flash.total_bytes > report.flash_limit_bytes:
        excess = report.flash.total_bytes - report.flash_limit_bytes
        problems.append(
            f"flash: needs {report.flash.total_bytes} bytes, {report.target} has {report.flash_limit_bytes}: {excess} too many, "
            f"{report.flash.weights_bytes} are weights"
        )
    if problems:
        raise DoesNotFitError(f"{report.name} does not fit {report.target}: {'; '.join(problems)}")


def exceeds_flash(report: MemoryReport) -> bool:
    """Whether what is known of the flash is more than there is."""
    return report.flash_limit_bytes is not None and report.flash.total_bytes > report.flash_limit_bytes


def exceeds_ram(report: MemoryReport) -> bool:
    """Whether what is known of the RAM, or of one of its banks, is more than there is."""
    too_much = report.ram_limit_bytes is not None and report.ram.total_bytes > report.ram_limit_bytes
    return too_much or bool(_bank_problems(report))


def _bank_problems(report: MemoryReport) -> list[str]:
    """Why buffers do not fit the banks that the user chose, one entry a bank that is too small."""
    problems = []
    for bank in report.banks:
        name = f"RAM bank {bank.name}"
        if bank.arena_bytes > bank.limit_bytes:
            excess = bank.arena_bytes - bank.limit_bytes
            problems.append(f"{name}: its arena needs {bank.arena_bytes} bytes and may have {bank.limit_bytes}: {excess} too many")
        elif bank.capacity_bytes is not None and bank.needed_bytes(report.ram) > bank.capacity_bytes:
            excess = bank.needed_bytes(report.ram) - bank.capacity_bytes
            problems.append(
                f"{name}: arena and stack need {bank.needed_bytes(report.ram)} bytes, the bank has {bank.capacity_bytes}: {excess} too many"
            )
    if problems:
        peak = report.peak_layer
        problems[-1] += f"; the peak is set by step {peak.step}, {peak.op} {printable(peak.name, 60)}"
    return problems


def _sum_problems(report: MemoryReport) -> list[str]:
    """Why banks that are large enough, each for its arena, hold too much together: the user allowed less."""
    if not report.banks or report.ram_limit_bytes is None or report.ram.total_bytes <= report.ram_limit_bytes:
        return []
    needed, peak = report.ram.total_bytes, report.peak_layer
    return [
        f"RAM: the arenas of all banks and the stack need {needed} bytes together, {report.ram_limit_bytes} are allowed: "
        f"{needed - report.ram_limit_bytes} too many; each bank has a peak of its own, and fewer banks may need less; "
        f"the highest is set by step {peak.step}, {peak.op} {printable(peak.name, 60)}"
    ]


def call_records(module: ModuleOp, prefix: str) -> list[dict[str, Any]]:
    """One entry a call, in the order of the schedule: what runs where; `functions` are the C functions that belong to it alone."""
    records = []
    for number, step in enumerate(steps_of(module)):
        for index, call in enumerate(step.calls):
            functions = [call_function(prefix, number, index, step)]
            if len(step.calls) > 1 and call is step.calls[-1] and step.pushed_input is None:
                functions.append(step_function(prefix, number))
            record = {"step": number, "name": call.layers_text, "op": call.ops_text, "kernel": decode_kernel(call.kernel).family}
            records.append({**record, "macs": int(call.macs.value.data), "functions": functions})
    return records


def report_json(
    report: MemoryReport,
    target: Target,
    regions: Sequence[Region],
    files: dict[str, str],
    options: EmitOptions,
    calls: Sequence[dict[str, Any]],
) -> str:
    """Text of report.json; docs/report.md describes it."""
    data: dict[str, Any] = {
        "schema": 1,
        "tinyc_version": VERSION,
        "model_sha256": options.model_sha256,
        **report.to_json(),
        "target": target.facts(),
        "optimization": options.optimization,
        "sources": [f"{options.prefix}.c", f"{options.prefix}_weights.c"],
        "files": sorted([*files, "report.json"]),
        **_arenas_json(report),
        "inputs": [_region_json(region) for region in regions if region.is_input],
        "outputs": [_region_json(region) for region in regions if not region.is_input],
        "calls": list(calls),
    }
    return json.dumps(data, indent=1) + "\n"


def _arenas_json(report: MemoryReport) -> dict[str, Any]:
    """`arena` where the user chose no banks, otherwise `arenas`, in the order in which the C takes them."""
    if not report.banks:
        return {"arena": {"bytes": report.ram.arena_bytes, "align": ARENA_ALIGNMENT}}
    several = len(report.banks) > 1
    entries = []
    for bank in report.banks:
        field = {"field": bank_field(bank.name)} if several else {}
        entries.append({"bank": bank.name, **field, "bytes": bank.arena_bytes, "align": ARENA_ALIGNMENT})
    return {"arenas": entries}


def _region_json(region: Region) -> dict[str, Any]:
    scale, zero_point = region.quantisation if region.quantisation is not None else (None, None)
    return {
        "name": region.name,
        "dtype": DTYPES[region.element],
        "shape": list(region.dims),
        **({"layout": region.layout} if region.layout else {}),
        **({"bank": region.bank} if region.bank else {}),
        "offset": region.offset,
        "bytes": region.bytes,
        **({"rows": region.rows, "row_bytes": region.row_bytes} if region.rows else {}),
        "scale": scale,
        "zero_point": zero_point,
    }
