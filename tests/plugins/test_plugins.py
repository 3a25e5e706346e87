"""Plug-ins: the sample of examples/plugin installed into an environment of its own, and plug-ins that misbehave."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "examples" / "fashion_mnist" / "fashion_mnist.tflite"
CLI = "import sys; from tinyc.cli import main; main()"


def run(python: Path | str, *arguments: object, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **({"PYTHONPATH": str(path)} if path is not None else {})}
    command = [str(python), "-c", CLI, *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a fresh virtual environment with the sample plug-in installed by pip; dependencies come from this environment."""
    folder = tmp_path_factory.mktemp("plugin-environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    asked = subprocess.run([str(python), "-c", "import site; print(site.getsitepackages()[0])"], capture_output=True, text=True)
    site = Path(asked.stdout.strip())
    # site.addsitedir runs .pth files, so that an editable install of tinyc is found too.
    (site / "tests.pth").write_text(f"import site; site.addsitedir({sysconfig.get_paths()['purelib']!r})\n")
    source = folder / "source"
    subprocess.run(["cp", "-r", str(ROOT / "examples" / "plugin"), str(source)], check=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", str(source)]
    installed = subprocess.run(command, capture_output=True, text=True)
    assert installed.returncode == 0, installed.stderr
    return python


def test_a_plugins_pass_and_target_are_listed_with_their_origin(environment: Path) -> None:
    assert any(line.split()[:3] == ["acme-negate-adds", "plug-in", "acme"] for line in run(environment, "passes").stdout.splitlines())
    assert any("acme-board" in line and " acme " in line for line in run(environment, "targets").stdout.splitlines())


def test_a_plugins_pass_runs_at_the_named_place_and_its_op_reaches_the_c(environment: Path, tmp_path: Path) -> None:
    insertion = "after:fold-pad=acme-negate-adds{times=2}"
    result = run(environment, "compile", MODEL, "-t", "acme-board", "-o", tmp_path / "out", "--insert-pass", insertion)
    assert result.returncode == 0, result.stderr
    code = (tmp_path / "out" / "fashion_mnist.c").read_text()
    # One body, and a call for each of two negations behind each of two additions.
    assert code.count("static void fashion_mnist_acme_negate(") == 1
    assert code.count(" fashion_mnist_acme_negate(") == 5


def test_a_plugins_op_is_read_from_text_and_evaluated(environment: Path) -> None:
    program = """
import numpy as np
from tinyc.interpreter.evaluate import evaluate
from tinyc.ir.text import parse_module, print_module
from tinyc.numerics.profile import Profile
kind = "!nn.tensor<[1, 3], i8, 0.5 : 0>"
text = f"func.func @main(%x: {kind}) -> {kind} {{ %y = acme.negate %x : ({kind}) -> {kind}  func.return %y : {kind} }}"
module = parse_module(text)
assert print_module(parse_module(print_module(module))) == print_module(module)
print(evaluate(module, [np.array([[-128, 0, 127]], np.int8)], Profile.LITERT)[0].tolist())
"""
    result = subprocess.run([str(environment), "-c", program], capture_output=True, text=True)
    assert result.stdout.strip() == "[[127, -1, -128]]", result.stderr


def make_plugin(folder: Path, name: str, code: str) -> None:
    """A plug-in as pip would leave it: a module, and metadata with the entry point."""
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(code)
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[tinyc.plugins]\n{name} = {module}:PLUGIN\n")


PASS = """
from dataclasses import dataclass
from xdsl.passes import ModulePass
from tinyc.plugins import Plugin

@dataclass(frozen=True)
class Some(ModulePass):
    '''Some pass.'''
    name = "some-pass"
    def apply(self, ctx, op):
        {body}

PLUGIN = Plugin(passes={{"some-pass": "{module}:Some"}})
"""


def refusal(path: Path, *arguments: object) -> str:
    """The one line of an error with exit code 1."""
    result = run(sys.executable, *arguments, path=path)
    assert result.returncode == 1, result.stderr
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    return result.stderr


def test_a_plugin_whose_pass_raises_is_named(tmp_path: Path) -> None:
    make_plugin(tmp_path, "shaky", PASS.format(module="shaky", body="raise KeyError('lost')"))
    error = refusal(tmp_path, "opt", MODEL, "-p", "canonicalize,some-pass")
    assert "pass some-pass of plug-in shaky failed: KeyError" in error


def test_a_plugin_whose_pass_breaks_the_ir_is_named(tmp_path: Path) -> None:
    body = "next(o for o in op.walk() if o.name == 'nn.add').properties.pop('clamp')"
    make_plugin(tmp_path, "breaker", PASS.format(module="breaker", body=body))
    error = refusal(tmp_path, "opt", MODEL, "-p", "some-pass")
    assert "pass some-pass of plug-in breaker left IR that does not verify" in error


def test_two_plugins_with_one_pass_name_are_both_named(tmp_path: Path) -> None:
    for name in ("first", "second"):
        make_plugin(tmp_path, name, PASS.format(module=name, body="pass"))
    error = refusal(tmp_path, "passes")
    assert "first" in error
    assert "second" in error


def test_a_plugin_that_takes_a_name_of_tinyc_is_refused(tmp_path: Path) -> None:
    code = "from tinyc.plugins import Plugin\nPLUGIN = Plugin(passes={'canonicalize': 'x:Y'}, targets={'host': 'x:y.toml'})\n"
    make_plugin(tmp_path, "greedy", code)
    assert "plug-in greedy: passes name canonicalize belongs to tinyc" in refusal(tmp_path, "passes")
    assert "plug-in greedy: targets name host belongs to tinyc" in refusal(tmp_path, "targets")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import no_such_module", "cannot be loaded: ModuleNotFoundError"),
        ("PLUGIN = 3", "expected a tinyc.plugins.Plugin"),
        ("from tinyc.plugins import Plugin\nPLUGIN = Plugin(passes={'some-pass': 'nowhere:Some'})", "cannot load nowhere:Some"),
        ("from tinyc.plugins import Plugin\nPLUGIN = Plugin(passes={'some-pass': 'math:pi'})", "is no ModulePass called some-pass"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_named(code: str, words: str, tmp_path: Path) -> None:
    make_plugin(tmp_path, "wrong", code)
    error = refusal(tmp_path, "opt", MODEL, "-p", "some-pass")
    assert "plug-in wrong" in error
    assert words in error


def test_a_plugin_whose_dialect_is_none_is_named(tmp_path: Path) -> None:
    make_plugin(tmp_path, "wrong", "from tinyc.plugins import Plugin\nPLUGIN = Plugin(dialects=('math:pi',))")
    error = refusal(tmp_path, "opt", MODEL, "-p", "canonicalize")
    assert "plug-in wrong: dialect math:pi cannot be loaded" in error
