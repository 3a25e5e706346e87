"""The `nn` dialect: a quantised network as SSA values, before anything is known about the target."""

from __future__ import annotations

from xdsl.ir import Dialect

from tinyc.ir.dense import DenseAttr
from tinyc.ir.nn_elementwise import AddOp, ClampOp, DequantizeOp, MaximumOp, MinimumOp, MulOp, QuantizeOp, SoftmaxOp, SubOp
from tinyc.ir.nn_movement import MOVEMENT_OPS
from tinyc.ir.nn_shape import ConstantOp, FullyConnectedOp, MeanOp, PadOp, ReshapeOp, TransposeOp
from tinyc.ir.nn_unary import PReluOp, UnaryOp
from tinyc.ir.nn_window import AveragePool2DOp, Conv2DOp, DepthwiseConv2DOp, MaxPool2DOp
from tinyc.ir.tensor_type import TensorType

NN = Dialect(
    "nn",
    [
        AddOp,
        AveragePool2DOp,
        ClampOp,
        ConstantOp,
        Conv2DOp,
        DepthwiseConv2DOp,
        DequantizeOp,
        FullyConnectedOp,
        MaxPool2DOp,
        MaximumOp,
        MeanOp,
        MinimumOp,
        MulOp,
        PReluOp,
        PadOp,
        QuantizeOp,
        ReshapeOp,
        SoftmaxOp,
        SubOp,
        TransposeOp,
        UnaryOp,
        *MOVEMENT_OPS,
    ],
    [DenseAttr, TensorType],
)
