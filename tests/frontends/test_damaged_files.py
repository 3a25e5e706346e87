"""Files that are no models, truncated or altered at random: a clean error in reasonable time, or a module that verifies."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from models import network_model

from support.network_builder import NetworkBuilder
from tinyc.errors import ModelError, TinycError
from tinyc.frontends.load import load_model
from tinyc.frontends.tflite import import_tflite
from tinyc.ir.text import print_module

SHARED = Path(__file__).resolve().parents[3] / "shared" / "models"
SECONDS = 5.0


def import_or_refuse(content: bytes) -> bool:
    """Whether `content` was imported; anything but a TinycError or taking too long fails the test."""
    begin = time.perf_counter()
    try:
        import_tflite(content, "damaged.tflite").verify()
    except TinycError:
        imported = False
    else:
        imported = True
    assert time.perf_counter() - begin < SECONDS
    return imported


def test_every_truncation_is_refused() -> None:
    model = network_model()
    import_tflite(model, "whole.tflite")
    imported = [length for length in range(0, len(model) - 16, 23) if import_or_refuse(model[:length])]
    # The end of a flatbuffer made by a builder holds data that every reader needs.
    assert imported == []


@pytest.mark.parametrize("seed", range(3))
def test_altered_bytes_are_refused_or_read(seed: int) -> None:
    model = network_model()
    random = np.random.default_rng(seed)
    refused = 0
    for _ in range(100):
        damaged = bytearray(model)
        for position in random.integers(0, len(model), random.integers(1, 8)):
            damaged[position] = random.integers(0, 256)
        refused += not import_or_refuse(bytes(damaged))
    assert refused > 0


@pytest.mark.parametrize("value", [0x00, 0x7F, 0x80, 0xFF])
def test_every_byte_of_the_structure_can_be_extreme(value: int) -> None:
    model = network_model()
    random = np.random.default_rng(value)
    for position in random.choice(len(model), 150, replace=False):
        damaged = bytearray(model)
        damaged[position : position + 4] = bytes([value] * 4)
        import_or_refuse(bytes(damaged))


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/models")
@pytest.mark.parametrize("name", ["micro_speech_quantized", "kws_ref_model"])
def test_altered_bytes_of_published_models_are_refused_or_read(name: str) -> None:
    model = (SHARED / f"{name}.tflite").read_bytes()
    random = np.random.default_rng(9)
    for _ in range(40):
        damaged = bytearray(model)
        # Weights make up most of a file; the structure lies at both ends.
        for position in random.integers(0, 3000, 3):
            damaged[position if random.random() < 0.3 else len(model) - 1 - position] = random.integers(0, 256)
        import_or_refuse(bytes(damaged))
    for length in random.integers(0, len(model), 20):
        assert not import_or_refuse(model[:length])


def test_a_missing_file_a_folder_and_an_empty_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.tflite").write_bytes(b"")
    (tmp_path / "folder.tflite").mkdir()
    for name, reason in [("missing.tflite", "No such file"), ("folder.tflite", "is a folder"), ("empty.tflite", "not a TFLite file")]:
        with pytest.raises(ModelError, match=f"{name}.*{reason}"):
            load_model(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("model.tflite", b"\x89PNG\r\n\x1a\n" + bytes(100), "not a TFLite file"),
        ("model.tflite", b"\x1c\0\0\0TFL2" + bytes(100), "not a TFLite file"),
        ("model.tflite", b"\x1c\0\0\0TFL3", "TFLite file"),
        ("model.mlir", b"\xff\xfe\xff", "not a text file"),
        ("model.mlir", b"builtin.module {", "model.mlir"),
        ("model.txt", b"hello", "not a TFLite file"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=reason):
        load_model(tmp_path / name)


def test_ir_text_is_a_model_file_too(tmp_path: Path) -> None:
    builder = NetworkBuilder()
    module = builder.finish(builder.depthwise(builder.input((1, 4, 4, 2))))
    (tmp_path / "net.mlir").write_text(print_module(module, print_weights=True), encoding="utf-8")
    assert load_model(tmp_path / "net.mlir").is_structurally_equivalent(module)


def test_a_tflite_file_is_known_by_its_content_not_its_name(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(network_model())
    load_model(tmp_path / "model.bin").verify()
