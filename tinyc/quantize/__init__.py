"""Post-training quantisation of float ONNX networks to int8."""

from tinyc.quantize.choose_range import METHODS
from tinyc.quantize.measure import LayerLoss, Loss, loss_table
from tinyc.quantize.quantise import Quantized, QuantizeOptions, quantize_arrays, quantize_file

__all__ = ["METHODS", "LayerLoss", "Loss", "QuantizeOptions", "Quantized", "loss_table", "quantize_arrays", "quantize_file"]
