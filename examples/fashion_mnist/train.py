"""Train the example network on Fashion-MNIST and export it as a fully quantised int8 TFLite file.

Run from anywhere; the two products are written next to this script (or to --output):

* ``fashion_mnist.tflite``: int8 input and output, weights quantised per output channel.
* ``test_images.npz``: ``input_0`` int8 (20, 1, 28, 28, 1), ``label`` int64 (20,) and ``expected_0`` int8 (20, 1, 10), the first two
  images of each class in the order of the test set and what the TFLite interpreter answers to them.

Neither the number of epochs nor any weight is chosen by looking at the test set: the last epoch is the one that is exported.
"""

from __future__ import annotations

import argparse
import gzip
import os
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import numpy.typing as npt
import tensorflow as tf  # type: ignore[import-not-found, import-untyped, unused-ignore]

DEFAULT_DATASET = Path("/usr/share/datasets/fashion-mnist")  # where Debian's dataset-fashion-mnist puts it
HERE = Path(__file__).resolve().parent
CLASS_COUNT = 10
IMAGES_PER_CLASS = 2
CALIBRATION_IMAGES = 500
IDX_UNSIGNED_BYTE = 0x08

Bytes = npt.NDArray[np.uint8]
Int8Array = npt.NDArray[np.int8]
FloatArray = npt.NDArray[np.float32]


def read_idx(path: Path) -> Bytes:
    """Read a gzipped IDX file of unsigned bytes: two zero bytes, element type, rank, one big-endian uint32 per dimension, the elements."""
    content = gzip.decompress(path.read_bytes())
    zero, element_type, rank = struct.unpack(">HBB", content[:4])
    if zero != 0 or element_type != IDX_UNSIGNED_BYTE:
        raise ValueError(f"{path}: not an IDX file of unsigned bytes")
    shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * rank).reshape(shape)


def read_split(folder: Path, prefix: str) -> tuple[Bytes, Bytes]:
    """Images uint8 (N, 28, 28, 1) and labels uint8 (N,) of one split, ``train`` or ``t10k``."""
    images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")
    return images[..., np.newaxis], read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz")


def convolution(x: Any, channels: int, kernel: int, stride: int = 1, relu: bool = True) -> Any:
    """Convolution and batch normalisation, which the TFLite converter folds into one CONV_2D with its ReLU."""
    x = tf.keras.layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False)(x)
    x = tf.keras.layers.BatchNormalization()(x)
    return tf.keras.layers.ReLU()(x) if relu else x


def depthwise(x: Any, kernel: int, stride: int = 1) -> Any:
    """Depthwise convolution, batch normalisation, ReLU: one DEPTHWISE_CONV_2D after conversion."""
    x = tf.keras.layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False)(x)
    x = tf.keras.layers.BatchNormalization()(x)
    return tf.keras.layers.ReLU()(x)


def inverted_residual(x: Any, expanded: int, kernel: int) -> Any:
    """Expand, depthwise, project without activation, add the block's input (Sandler et al., CVPR 2018)."""
    y = convolution(x, expanded, 1)
    y = depthwise(y, kernel)
    y = convolution(y, x.shape[-1], 1, relu=False)
    return tf.keras.layers.Add()([x, y])


def build_network(batch: int | None = None) -> Any:
    """The untrained network: float32 (batch, 28, 28, 1) in 0..1 -> float32 (batch, 10) probabilities; any batch where it is None."""
    image = tf.keras.Input((28, 28, 1), batch_size=batch)
    x = convolution(image, 16, 3, stride=2)  # 14x14x16
    x = depthwise(x, 5)
    x = convolution(x, 24, 1, relu=False)  # 14x14x24
    x = inverted_residual(x, 48, 3)
    x = depthwise(x, 3, stride=2)  # 7x7x24
    x = convolution(x, 48, 1, relu=False)  # 7x7x48
    x = inverted_residual(x, 96, 5)
    x = depthwise(x, 3, stride=2)  # 4x4x48
    x = convolution(x, 96, 1)  # 4x4x96
    # A pooling layer as large as its input, not GlobalAveragePooling2D: it converts to AVERAGE_POOL_2D, the other to MEAN.
    x = tf.keras.layers.AveragePooling2D(4)(x)
    x = tf.keras.layers.Flatten()(x)
    x = tf.keras.layers.Dense(CLASS_COUNT, activation="softmax")(x)
    return tf.keras.Model(image, x)


def count_macs(network: Any) -> int:
    """Multiply-accumulates of one inference: outputs times weights per output, over convolutions and the dense layer."""
    macs = 0
    for layer in network.layers:
        if isinstance(layer, tf.keras.layers.DepthwiseConv2D):
            macs += int(np.prod(layer.output.shape[1:])) * layer.kernel_size[0] * layer.kernel_size[1]
        elif isinstance(layer, tf.keras.layers.Conv2D):
            macs += int(np.prod(layer.output.shape[1:])) * int(np.prod(layer.kernel.shape[:3]))
        elif isinstance(layer, tf.keras.layers.Dense):
            macs += int(np.prod(layer.kernel.shape))
    return macs


def augment(images: FloatArray, random: np.random.Generator) -> FloatArray:
    """Mirror every image with probability 1/2 and shift it by up to one pixel each way; float32 (N, 28, 28, 1) both ways."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    count, height, width, _ = images.shape
    rows = random.integers(0, 3, (count, 1)) + np.arange(height)
    columns = random.integers(0, 3, (count, 1)) + np.arange(width)
    mirrored = random.random((count, 1)) < 0.5
    columns = np.where(mirrored, columns[:, ::-1], columns)
    augmented: FloatArray = padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return augmented


def train(network: Any, images: FloatArray, labels: Bytes, epochs: int, batch: int, seed: int) -> None:
    """Adam with decoupled weight decay and a one-cycle rate (linear rise, cosine fall) over ``epochs`` passes; trains in place."""
    steps = epochs * (len(images) // batch)
    warm_up = steps // 10
    rate = tf.keras.optimizers.schedules.CosineDecay(1e-4, steps - warm_up, alpha=0.0, warmup_target=6e-3, warmup_steps=warm_up)
    optimizer = tf.keras.optimizers.AdamW(rate, weight_decay=4e-3)
    network.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    random = np.random.default_rng(seed)
    for epoch in range(epochs):
        start = time.monotonic()
        order = random.permutation(len(images))
        network.reset_metrics()
        metrics: dict[str, float] = {}
        for first in range(0, len(order) - batch + 1, batch):
            chosen = order[first : first + batch]
            metrics = network.train_on_batch(augment(images[chosen], random), labels[chosen], return_dict=True)
        seconds = time.monotonic() - start
        print(f"epoch {epoch + 1}/{epochs}: loss {metrics['loss']:.4f}, accuracy {metrics['accuracy']:.4f}, {seconds:.0f} s", flush=True)


def quantise(network: Any, calibration: FloatArray) -> bytes:
    """Full int8 post-training quantisation; ``calibration`` float32 (N, 28, 28, 1) sets the ranges of the activations."""
    # A batch fixed to one keeps shape arithmetic (SHAPE, STRIDED_SLICE, PACK) out of the file.
    single = build_network(batch=1)
    single.set_weights(network.get_weights())
    converter = tf.lite.TFLiteConverter.from_keras_model(single)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative_dataset(calibration)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def representative_dataset(images: FloatArray) -> Callable[[], Iterator[list[FloatArray]]]:
    """What the converter calls to get calibration images, one at a time."""
    return lambda: ([images[index : index + 1]] for index in range(len(images)))


def quantise_images(interpreter: Any, images: Bytes) -> Int8Array:
    """Pixels 0..255 of (N, 28, 28, 1) as the network's int8 input."""
    scale, zero_point = interpreter.get_input_details()[0]["quantization"]
    quantised: Int8Array = np.clip(np.rint(images / 255.0 / scale) + zero_point, -128, 127).astype(np.int8)
    return quantised


def run_int8(interpreter: Any, images: Int8Array) -> Int8Array:
    """Outputs int8 (N, 10) of the TFLite interpreter for inputs int8 (N, 28, 28, 1)."""
    source, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    outputs = np.empty((len(images), CLASS_COUNT), np.int8)
    for index in range(len(images)):
        interpreter.set_tensor(source, images[index : index + 1])
        interpreter.invoke()
        outputs[index] = interpreter.get_tensor(result)[0]
    return outputs


def first_of_each_class(labels: Bytes) -> npt.NDArray[np.intp]:
    """Positions, in ascending order, of the first IMAGES_PER_CLASS images of each class."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:IMAGES_PER_CLASS] for label in range(CLASS_COUNT)]))


def main() -> None:
    parser = argparse.ArgumentParser(description="train the Fashion-MNIST example and export it as int8 TFLite")
    parser.add_argument("--dataset", type=Path, default=DEFAULT_DATASET, help="folder of the four idx3/idx1-ubyte.gz files")
    parser.add_argument("--output", type=Path, default=HERE, help="folder to write to")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="threads inside one operation")
    arguments = parser.parse_args()

    start = time.monotonic()
    tf.keras.utils.set_random_seed(arguments.seed)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    train_images, train_labels = read_split(arguments.dataset, "train")
    test_images, test_labels = read_split(arguments.dataset, "t10k")
    scaled = (train_images / np.float32(255)).astype(np.float32)

    network = build_network()
    print(f"{network.count_params()} parameters, batch normalisation included; {count_macs(network)} MACs")
    train(network, scaled, train_labels, arguments.epochs, arguments.batch, arguments.seed)
    probabilities = network.predict(test_images / np.float32(255), batch_size=500, verbose=0)
    print(f"float accuracy: {np.mean(probabilities.argmax(axis=1) == test_labels):.4f} of {len(test_labels)} test images")

    calibration = np.random.default_rng(arguments.seed).choice(scaled, CALIBRATION_IMAGES, replace=False)
    model = quantise(network, calibration)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "fashion_mnist.tflite").write_bytes(model)

    interpreter = tf.lite.Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    quantised = quantise_images(interpreter, test_images)
    outputs = run_int8(interpreter, quantised)
    print(f"int8 accuracy:  {np.mean(outputs.argmax(axis=1) == test_labels):.4f} of {len(test_labels)} test images")
    chosen = first_of_each_class(test_labels)
    np.savez_compressed(
        arguments.output / "test_images.npz",
        input_0=quantised[chosen][:, np.newaxis],
        label=test_labels[chosen].astype(np.int64),
        expected_0=outputs[chosen][:, np.newaxis],
    )
    print(f"{len(model)} bytes of TFLite, {time.monotonic() - start:.0f} s in all")


if __name__ == "__main__":
    main()
