"""`tinyc check`: one screen, nothing written, and exit codes that scripts can use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from support.onnx_builder import GraphBuilder, one_op
from support.onnx_networks import network
from tinyc.cli.main import cli, run_cli


def check(model: onnx.ModelProto, folder: Path, *arguments: str) -> Result:
    """Runs the verb on a model file."""
    path = folder / "network.onnx"
    path.write_bytes(model.SerializeToString())
    before = sorted(folder.iterdir())
    result = CliRunner().invoke(cli, ["check", str(path), *arguments], standalone_mode=True)
    assert sorted(folder.iterdir()) == before
    return result


def test_a_network_that_fits_is_told_in_one_screen(tmp_path: Path) -> None:
    result = check(network(True), tmp_path, "-t", "stm32f412")
    assert result.exit_code == 0
    assert "supported         yes" in result.output
    assert "CONV_2D" in result.output
    assert "fits              yes" in result.output
    assert len(result.output.splitlines()) < 25


def test_refused_nodes_with_one_reason_are_one_line_and_the_exit_code_is_1(tmp_path: Path) -> None:
    graph = GraphBuilder()
    graph.input("x", [1, 4], np.int8)
    for index in range(5):
        real = graph.node("DequantizeLinear", ["x", *graph.parameters(f"x{index}", (0.1, 0))], f"real{index}")
        graph.output(graph.quantize(graph.node("Erf", [real], f"erf{index}"), (0.1, 0)), np.int8)
    result = check(graph.model(), tmp_path, "-t", "stm32f412")
    assert result.exit_code == 1
    assert "not supported     5 nodes" in result.output
    assert "erf0, erf1, erf2 and 2 more" in result.output
    assert len(result.output.splitlines()) == 3


def test_a_network_that_does_not_fit_is_told_by_how_much_and_the_exit_code_is_3(tmp_path: Path) -> None:
    wide = one_op("Relu", [((0.1, 0), (1, 600000))], (0.1, 0))
    result = check(wide, tmp_path, "-t", "stm32f412")
    assert result.exit_code == 3
    assert "too many" in result.output
    assert "supported         yes" in result.output


def test_what_an_image_that_comes_row_by_row_needs_is_told(tmp_path: Path) -> None:
    assert "(inputs and outputs included)" in check(network(True), tmp_path, "-t", "stm32f412").output
    result = check(network(True), tmp_path, "-t", "stm32f412", "--stream-input")
    assert result.exit_code == 0
    assert "for rows of the input included" in result.output


def test_free_sizes_are_given_on_the_command_line(tmp_path: Path) -> None:
    model = network(True)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    assert "--shape" in str(check(model, tmp_path, "-t", "stm32f412").exception)
    assert check(model, tmp_path, "-t", "stm32f412", "--shape", "image=1,3,16,16").exit_code == 0


@pytest.mark.parametrize("text", ["image", "image=", "image=1,-3", "=1,2", "image=1,3,x,4"])
def test_a_shape_that_cannot_be_read_is_wrong_usage(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(network(True).SerializeToString())
    assert run_cli(["check", str(path), "-t", "stm32f412", "--shape", text]) == 2
    assert "NAME=SIZES" in capsys.readouterr().err
