"""`nn` ops that are functions of int8 values: unary, one op for all functions of one operand, and prelu, whose slope is an operand."""

from __future__ import annotations

from typing import ClassVar

from xdsl.dialects.builtin import Float32Type, FloatAttr, StringAttr, UnitAttr
from xdsl.irdl import irdl_op_definition, opt_prop_def, prop_def

from tinyc.ir.nn_base import ElementwiseOp, require, require_int8
from tinyc.ir.nn_elementwise import BroadcastingOp

UNARY_FUNCTIONS = (
    "abs",
    "elu",
    "hard_sigmoid",
    "hard_swish",
    "leaky_relu",
    "logistic",
    "negate",
    "relu",
    "relu6",
    "relu_n1_to_1",
    "requantize",
    "tanh",
)
"""What `function` may be; numerics says what each computes."""

_TITLES = {"negate": "NEG", "requantize": "QUANTIZE"}


@irdl_op_definition
class UnaryOp(ElementwiseOp):
    """`function` of every element, from the input's quantisation to the result's.

    `alpha` is the slope of leaky_relu below 0, the factor of elu below 0 (1 where it has none), and the slope of hard_sigmoid, whose value
    at 0 is `beta`. `own_kernel` marks what LiteRT computes with its own kernel instead of XNNPACK's, by another
    rule.
    """

    name = "nn.unary"
    TITLE: ClassVar[str] = "UNARY"
    function = prop_def(StringAttr)
    alpha = opt_prop_def(FloatAttr[Float32Type])
    beta = opt_prop_def(FloatAttr[Float32Type])
    own_kernel = opt_prop_def(UnitAttr)

    @property
    def title(self) -> str:
        return _TITLES.get(self.function.data, self.function.data.upper())

    def in_place_operands(self) -> tuple[int, ...]:
        return (0,)

    def verify_op(self) -> None:
        require_int8(self.operand_tensor(0), "input")
        require_int8(self.out, "result")
        function = self.function.data
        require(function in UNARY_FUNCTIONS, f"function must be one of {', '.join(UNARY_FUNCTIONS)}, got {function}")
        if function != "elu":
            takes = function in ("leaky_relu", "hard_sigmoid")
            require((self.alpha is not None) == takes, f"{function} has {'an' if takes else 'no'} alpha")
        require((self.beta is not None) == (function == "hard_sigmoid"), "hard_sigmoid has a beta, other functions have none")


@irdl_op_definition
class PReluOp(BroadcastingOp):
    """The first operand where it is positive, elsewhere its product with the second, the slope, which broadcasts."""

    name = "nn.prelu"
    TITLE: ClassVar[str] = "PRELU"

    def verify_op(self) -> None:
        super().verify_op()
        require(self.operand_tensor(0).shape == self.out.shape, "the result must have the shape of the input")
