"""tinyc pareto: what RAM buys, and that every point is what its flag compiles."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ElementTree
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner
from small_network import small_network

from tinyc.api import Model, limited
from tinyc.cli.main import cli
from tinyc.errors import DoesNotFitError, UsageError
from tinyc.ir.text import print_module
from tinyc.report.curve import Curve, CurvePoint, curve_svg, curve_text
from tinyc.targets import load_target

HAS_QEMU = shutil.which("qemu-system-arm") is not None and shutil.which("arm-none-eabi-gcc") is not None


def network() -> Model:
    """One block is enough for a curve of several points."""
    return small_network(1)


@cache
def curve() -> Curve:
    return network().pareto("stm32f412", count=False, measure=False, points=20)


def test_more_ram_never_takes_more_instructions() -> None:
    points = curve().points
    assert len(points) >= 2
    assert [point.ram_bytes for point in points] == sorted({point.ram_bytes for point in points})
    assert [point.cost for point in points] == sorted({point.cost for point in points}, reverse=True)
    assert curve().fastest is points[-1]


def written(folder: Path) -> str:
    path = folder / "small.mlir"
    path.write_text(print_module(network().module, print_weights=True), encoding="utf-8")
    return str(path)


def test_the_flag_of_every_point_compiles_to_its_ram(tmp_path: Path) -> None:
    model = written(tmp_path)
    for point in curve().points:
        arguments = ["compile", model, "-t", "stm32f412", "-o", str(tmp_path / "out"), "--no-measure", *point.flag.split()]
        assert CliRunner().invoke(cli, arguments, catch_exceptions=False).exit_code == 0
        ram = json.loads((tmp_path / "out" / "report.json").read_text())["ram"]
        assert (ram["total_bytes"], ram["arena_bytes"]) == (point.ram_bytes, point.arena_bytes)


def test_a_byte_less_than_the_smallest_point_does_not_fit() -> None:
    target = limited(load_target("stm32f412"), curve().points[0].ram_bytes - 4, None)
    with pytest.raises(DoesNotFitError):
        network().compile(target, optimize="speed", measure=False)


def test_between_two_points_the_smaller_one_is_compiled() -> None:
    small, large = curve().points[:2]
    target = limited(load_target("stm32f412"), large.ram_bytes - 1, None)
    assert network().compile(target, optimize="speed", measure=False).report.ram.total_bytes == small.ram_bytes


def test_fewer_points_keep_both_ends() -> None:
    few = network().pareto("stm32f412", count=False, measure=False, points=2)
    assert few.points == (curve().points[0], curve().points[-1])


def test_points_beyond_the_part_are_left_out() -> None:
    limit = curve().points[-1].ram_bytes - 4
    few = network().pareto(limited(load_target("stm32f412"), limit, None), count=False, measure=False, points=20)
    assert few.points
    assert all(point.ram_bytes <= limit for point in few.points)
    assert few.points[0] == curve().points[0]


def test_on_cortex_m7_the_curve_is_of_estimated_cycles_with_counted_instructions_beside_them() -> None:
    found = network().pareto("stm32h743", measure=False, points=2)
    assert (found.unit, found.source) == ("est. cycles", "estimated")
    assert found.fastest.cost < curve().fastest.cost
    assert all((point.instructions is not None) == HAS_QEMU for point in found.points)
    assert ("instructions counted in QEMU" in curve_text(found)) == HAS_QEMU


def test_the_host_has_no_curve() -> None:
    with pytest.raises(UsageError, match="host"):
        network().pareto("host")


@pytest.mark.skipif(not HAS_QEMU, reason="needs qemu-system-arm and arm-none-eabi-gcc")
def test_the_command_counts_instructions_in_qemu_says_so_and_draws(tmp_path: Path) -> None:
    picture = tmp_path / "curve.svg"
    arguments = ["pareto", written(tmp_path), "-t", "stm32f412", "--points", "2", "--json", "-o", str(picture)]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["source"] == "counted in QEMU"
    estimated = [curve().points[0].cost, curve().points[-1].cost]
    assert [point["cost"] for point in found["points"]] != estimated
    for point, estimate in zip(found["points"], estimated, strict=True):
        assert point["cost"] == pytest.approx(estimate, rel=0.1)
        assert point["stack_bytes"] > 0
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")


def made(name: str) -> Curve:
    points = (CurvePoint("--ram 100", 100, 90, 10, 5, 2_000), CurvePoint("--ram 300", 300, 290, None, 5, 1_000))
    return Curve(name, "stm32f412", "litert", "instructions", "estimated", False, 1_000, points)


def test_the_text_says_source_flag_and_distance_to_the_fastest() -> None:
    text = curve_text(made("net"))
    assert "instructions estimated" in text
    assert "+100.0 %  --ram 100" in text
    assert "+0.0 %  --ram 300" in text


def test_the_picture_is_well_formed_needs_nothing_else_and_takes_any_name() -> None:
    text = curve_svg(made("</title><script>alert(1)</script>&\"'"))
    root = ElementTree.fromstring(text)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags == {"svg", "title", "style", "rect", "text", "line", "path", "circle"}
    assert text.count("http") == text.count("http://www.w3.org/2000/svg") == 1
    circles = [element for element in root.iter() if element.tag.endswith("circle")]
    assert [circle[0].text for circle in circles] == [
        "100 bytes, 2,000 instructions: --ram 100",
        "300 bytes, 1,000 instructions: --ram 300",
    ]
    assert float(circles[0].attrib["cx"]) < float(circles[1].attrib["cx"])
    assert float(circles[0].attrib["cy"]) < float(circles[1].attrib["cy"])
