"""Compile the Fashion-MNIST network for a microcontroller, classify twenty images in an emulator, compare with the desktop.

Exit code 0 where every output byte equals what the TFLite interpreter answers, 1 otherwise. The answers were recorded when the example was
made; where ai-edge-litert is installed it is asked again. A wrong class is reported but is no mismatch: the network is right about nine
times in ten, and the C must share its errors.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

import tinyc
from tinyc.errors import TinycError

HERE = Path(__file__).resolve().parent
MODEL = HERE / "fashion_mnist.tflite"
CLASS_NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def print_classes(outputs: npt.NDArray[np.int8], expected: npt.NDArray[np.int8], labels: npt.NDArray[np.int64]) -> int:
    """One line for each image; outputs and expected int8 (N, 1, 10), labels int64 (N,). Returns how many output bytes differ."""
    print(f"{'image':>5}  {'label':<12} {'answer':<12} {'probability':>11}  output bytes")
    for index, label in enumerate(labels):
        answer = int(outputs[index].argmax())
        probability = (int(outputs[index].max()) + 128) / 256  # the softmax output has scale 1/256 and zero point -128
        differing = int(np.count_nonzero(outputs[index] != expected[index]))
        agreement = "equal" if differing == 0 else f"{differing} of {outputs[index].size} DIFFER"
        remark = "" if answer == label else "  (wrong class)"
        print(f"{index:>5}  {CLASS_NAMES[label]:<12} {CLASS_NAMES[answer]:<12} {probability:>11.3f}  {agreement}{remark}")
    return int(np.count_nonzero(outputs != expected))


def desktop_answers(images: npt.NDArray[np.int8]) -> npt.NDArray[np.int8] | None:
    """What ai-edge-litert computes here and now for images int8 (N, 1, 28, 28, 1): int8 (N, 1, 10); None where it is not installed."""
    if find_spec("ai_edge_litert") is None:
        return None
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(MODEL))
    interpreter.allocate_tensors()
    source, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    answers = []
    for image in images:
        interpreter.set_tensor(source, image)
        interpreter.invoke()
        answers.append(interpreter.get_tensor(result).copy())
    return np.stack(answers)


def run(target: str, runner: str, folder: Path) -> int:
    """Compile, emulate, print and compare; returns the exit code."""
    with np.load(HERE / "test_images.npz", allow_pickle=False) as archive:
        images, expected, labels = archive["input_0"], archive["expected_0"], archive["label"]

    compiled = tinyc.load(MODEL).compile(target=target)
    compiled.write(folder)
    print(f"C for {target} written to {folder}\n")
    print(compiled.memory_report())

    result = tinyc.run(folder, runner=runner, inputs={"input_0": images})
    outputs = result.outputs["output_0"]
    if outputs.shape != expected.shape:
        print(f"mismatch: the output has shape {outputs.shape}, expected {expected.shape}", file=sys.stderr)
        return 1

    print()
    differing = print_classes(outputs, expected, labels)
    correct = int(np.count_nonzero(outputs.reshape(len(labels), -1).argmax(axis=1) == labels))
    print(f"\n{correct} of {len(labels)} images classified as labelled; {differing} of {expected.size} output bytes differ from TFLite")
    desktop = desktop_answers(images)
    if desktop is None:
        print("ai-edge-litert is not installed: compared with the recorded answers only")
    else:
        now = int(np.count_nonzero(outputs != desktop))
        differing += now
        print(f"{now} of {desktop.size} output bytes differ from what ai-edge-litert computes on this machine")
    if result.instructions is not None:
        print(f"{result.instructions} instructions for one image (runner {runner})")
    if result.stack_bytes is not None:
        print(f"{result.stack_bytes} bytes of stack")
    return 0 if differing == 0 else 1


def main() -> int:
    parser = argparse.ArgumentParser(description="compile the Fashion-MNIST example, run it and compare it with TFLite")
    parser.add_argument("-t", "--target", default="stm32h743", help="part to compile for (default: %(default)s)")
    parser.add_argument("--runner", default="qemu", help="what executes the C: qemu or host (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, default=Path("build/fashion_mnist"), help="folder for the C (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        return run(arguments.target, arguments.runner, arguments.output)
    except TinycError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
