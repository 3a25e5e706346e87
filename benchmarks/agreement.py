"""How often a quantised network gives the float network's answer: tinyc's calibrators and ONNX Runtime's quantize_static, same data.

python benchmarks/all.py --part agreement      # all networks but the largest; writes the tables of docs/quantize.md
python benchmarks/agreement.py mcunet-in4 ...  # measure these and print

It is an error where the default is behind quantize_static on any network. All seeds are fixed: those of the networks in `tinyc zoo`, those
of the inputs below.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from cases import Array
from documents import DOCS, Edit, Section
from measure import Laboratory
from onnx import numpy_helper
from tables import table_row
from terminal import Terminal

from tinyc.errors import MismatchError, TinycError
from tinyc.quantize.options import Progress, QuantizeOptions
from tinyc.quantize.post_training import quantize_arrays
from tinyc.quantize.run_float import Runner
from tinyc.zoo import count_network, make_network, networks, synthetic_inputs

DOCUMENT = DOCS / "quantize.md"
RANDOM, TRAINED = "random", "trained"
CALIBRATION_SAMPLES = 32
SAMPLES = 2000
"""Inputs; with fewer, chance decides between quantisers that are a point apart."""
CALIBRATION_SEED, SEED = 1, 2
TRAINING_SEED, TRAINED_CALIBRATION_SEED, TRAINED_SEED = 3, 4, 5
"""Of the inputs. They were chosen before anything was measured and are the same for all networks."""
CLASSES = 100
"""At least so many logits: with two classes, every quantiser agrees nearly always."""

STATIC = "quantize_static"
DEFAULT = "default"
OPTIONS: Mapping[str, QuantizeOptions] = {
    DEFAULT: QuantizeOptions(compare=False),
    "no bias correction": QuantizeOptions(correct_bias=False, compare=False),
    "mse": QuantizeOptions("mse", compare=False),
}
"""Columns of the table and the options they stand for; each further one takes minutes."""

CLASSIFIERS = tuple(name for name in networks() if name not in ("autoencoder", "yolo-fpn"))
LARGEST_MACS = 60_000_000
"""Networks with more multiply-adds are measured only when they are named: they take minutes each."""
MEASURED = tuple(name for name in CLASSIFIERS if count_network(name).macs <= LARGEST_MACS)

Quantiser = Callable[[Path, Array, Path], onnx.ModelProto]


@dataclass(frozen=True)
class Agreement:
    """One network: the share of inputs, by column, on which a quantised model and the float model have the same largest output.

    `accuracy` is the same share for the right class; empty for a network that was not trained.
    """

    kind: str
    network: str
    shares: Mapping[str, float]
    accuracy: Mapping[str, float]

    @property
    def behind(self) -> bool:
        """Whether quantize_static gives the float network's answer more often."""
        return self.shares[DEFAULT] < self.shares[STATIC]

    def row(self) -> str:
        """Row of the table of its kind."""
        if self.kind == RANDOM:
            return table_row(self.network, *(_percent(share) for share in self.shares.values()))
        pairs = (cell for column in (STATIC, DEFAULT) for cell in (_percent(self.shares[column]), _percent(self.accuracy[column])))
        return table_row(self.network, _percent(self.accuracy["float"]), *pairs)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def quantize_statically(path: Path, samples: Array, folder: Path) -> onnx.ModelProto:
    """ONNX Runtime's own way for int8: pre-process, then weights per channel, activations with minimum and maximum."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """One sample at a time."""

        def __init__(self) -> None:
            self.feeds: Iterator[dict[str, Array]] = iter([{"input": sample[None]} for sample in samples])

        def get_next(self) -> dict[str, Array] | None:
            """The next sample, None at the end."""
            return next(self.feeds, None)

    prepared, quantised = folder / "prepared.onnx", folder / "static.onnx"
    quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    kinds = {"weight_type": QuantType.QInt8, "activation_type": QuantType.QInt8}
    quantize_static(str(prepared), str(quantised), Reader(), quant_format=QuantFormat.QDQ, per_channel=True, **kinds)
    return onnx.load(quantised)


def _quantize(options: QuantizeOptions, path: Path, samples: Array, folder: Path) -> onnx.ModelProto:
    return quantize_arrays(path, {"input": samples}, options).model


QUANTISERS: Mapping[str, Quantiser] = {
    STATIC: quantize_statically,
    **{name: partial(_quantize, chosen) for name, chosen in OPTIONS.items()},
}


def answers(model: onnx.ModelProto, inputs: Array) -> Array:
    """Index of the largest output for each input."""
    runner = Runner(model)
    return np.array([runner.run({"input": sample[None]})[runner.names[0]].argmax() for sample in inputs])


def input_shape(model: onnx.ModelProto) -> tuple[int, ...]:
    """Shape of one input, without the batch."""
    return tuple(dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim)[1:]


def measure_random(name: str, progress: Progress) -> Agreement:
    """Agreement on a network with random weights."""
    model = make_network(name)
    if all(node.op_type != "Softmax" for node in model.graph.node):
        # 256 levels of probability do not tell many classes apart; logits do.
        model = make_network(name, classes=max(CLASSES, networks()[name].defaults.classes))
    shape = input_shape(model)
    calibration, inputs = synthetic_inputs(shape, CALIBRATION_SAMPLES, CALIBRATION_SEED), synthetic_inputs(shape, SAMPLES, SEED)
    found = _answers(name, model, calibration, inputs, tuple(QUANTISERS), progress)
    return Agreement(RANDOM, name, {column: float((found[column] == found["float"]).mean()) for column in QUANTISERS}, {})


def _answers(
    name: str, model: onnx.ModelProto, calibration: Array, inputs: Array, columns: Sequence[str], progress: Progress
) -> dict[str, Array]:
    """What the float network, as column `float`, and its quantised forms answer."""
    found = {"float": answers(model, inputs)}
    with tempfile.TemporaryDirectory(prefix="tinyc-agreement-") as text:
        folder = Path(text)
        path = folder / "float.onnx"
        path.write_bytes(model.SerializeToString())
        for index, column in enumerate(columns):
            progress(name, index, len(columns))
            found[column] = answers(QUANTISERS[column](path, calibration, folder), inputs)
    return found


TRAINED_CLASSES = 20
TRAINING_SAMPLES = 1000
_MIX = 0.65
"""Share of its class's pattern in an image; the rest is another random image."""


def labelled_images(shape: tuple[int, ...], count: int, seed: int) -> tuple[Array, Array]:
    """`count` images (float32) of TRAINED_CLASSES patterns under other patterns, and their classes."""
    patterns = synthetic_inputs(shape, TRAINED_CLASSES, 1000)
    labels = np.random.RandomState(seed).randint(0, TRAINED_CLASSES, count)
    others = synthetic_inputs(shape, count, seed)
    return np.asarray(_MIX * patterns[labels] + (1 - _MIX) * others, np.float32), labels


_SHARPNESSES = 2.0 ** np.arange(-4, 13)


def sharpness(logits: Array, labels: Array) -> float:
    """The power of two by which `logits` (samples, classes) must be multiplied for the least cross-entropy of their softmax with `labels`.

    Regression leaves logits so flat that all probabilities are nearly equal, and 8-bit ones equal; a classifier that was trained by
    cross-entropy is as sure as it is right. A power of two, so that the last bits of a BLAS library do not matter.
    """

    def cross_entropy(factor: float) -> float:
        scaled = factor * (logits - logits.max(axis=1, keepdims=True))
        return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(labels)), labels]).mean())

    return float(min(_SHARPNESSES, key=cross_entropy))


def trained(name: str) -> onnx.ModelProto:
    """The network with random features and a last layer that ridge regression fitted to labelled images: trained without a download."""
    model = make_network(name, classes=TRAINED_CLASSES)
    last = next(node for node in model.graph.node if node.op_type == "Gemm")
    images, labels = labelled_images(input_shape(model), TRAINING_SAMPLES, TRAINING_SEED)
    runner = Runner(model, [last.input[0]])
    features = np.concatenate([runner.run({"input": image[None]})[last.input[0]] for image in images]).astype(np.float64)
    mean = features.mean(axis=0)
    centred = features - mean
    wanted = np.eye(TRAINED_CLASSES)[labels] - 1 / TRAINED_CLASSES
    ridge = 0.1 * np.trace(centred.T @ centred) / centred.shape[1]
    weights = np.linalg.solve(centred.T @ centred + ridge * np.eye(centred.shape[1]), centred.T @ wanted).T
    weights *= sharpness(centred @ weights.T, labels)
    fitted = {last.input[1]: weights, last.input[2]: -weights @ mean}
    for tensor in model.graph.initializer:
        if tensor.name in fitted:
            tensor.CopyFrom(numpy_helper.from_array(fitted[tensor.name].astype(np.float32), tensor.name))
    return model


def measure_trained(name: str, progress: Progress) -> Agreement:
    """Agreement and accuracy on a network with a fitted last layer."""
    model = trained(name)
    shape = input_shape(model)
    calibration, _ = labelled_images(shape, CALIBRATION_SAMPLES, TRAINED_CALIBRATION_SEED)
    inputs, labels = labelled_images(shape, SAMPLES, TRAINED_SEED)
    found = _answers(name, model, calibration, inputs, (STATIC, DEFAULT), progress)
    shares = {column: float((found[column] == found["float"]).mean()) for column in (STATIC, DEFAULT)}
    return Agreement(TRAINED, name, shares, {column: float((answer == labels).mean()) for column, answer in found.items()})


MEASURES: Mapping[str, Callable[[str, Progress], Agreement]] = {RANDOM: measure_random, TRAINED: measure_trained}
HEADINGS: Mapping[str, str] = {
    RANDOM: " | ".join(["network", *QUANTISERS]),
    TRAINED: f"network | accuracy, float | agreement, {STATIC} | accuracy | agreement, {DEFAULT} | accuracy",
}


def measure_agreement(laboratory: Laboratory, names: Sequence[str]) -> list[Edit]:
    """What docs/quantize.md says about the networks `names`. Raises MismatchError where the default is behind `quantize_static`."""
    found = []
    for measure in MEASURES.values():
        for name in names:
            found.append(measure(name, laboratory.progress(name)))
    behind = [f"{one.kind} {one.network}" for one in found if one.behind]
    if behind:
        raise MismatchError(f"the default is behind {STATIC} on {', '.join(behind)}")
    return [Section(DOCUMENT, kind, [one.row() for one in found if one.kind == kind], heading) for kind, heading in HEADINGS.items()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", choices=CLASSIFIERS, metavar="NETWORK")
    terminal = Terminal()
    try:
        for name in parser.parse_args().networks:
            edits = measure_agreement(Laboratory(terminal.tell), [name])
            terminal.clear()
            print(*(f"{edit.document.name}: {row}" for edit in edits for row in edit.rows), sep="\n", flush=True)
    except TinycError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    finally:
        terminal.clear()
    return 0


if __name__ == "__main__":
    sys.exit(main())
