"""Ops between a layer and its QuantizeLinear or DequantizeLinear that move elements about.

ONNX Runtime moves QuantizeLinear up and DequantizeLinear down over some of them (its QDQPropagationTransformer); the layer then has them
beside it and is computed in 8 bits. Over others it does not, nor does it once an activation that it removes stood in the way, and the layer
is computed in float32. What moves elements about gives the same either way; the layer may not.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import replace
from typing import cast

from xdsl.ir import Block, SSAValue

from tinyc.frontends.onnx_node import Activation, Node, Pending, Quantization, Rule, State
from tinyc.ir.tensor_type import Tensor, TensorType

REMOVED = frozenset({"Dropout", "Identity"})
"""Ops that ONNX Runtime takes out."""
JOINED = REMOVED | {"MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
"""Ops over which ONNX Runtime moves QuantizeLinear and DequantizeLinear."""
NOT_BEHIND_LAYERS = frozenset({"Concat", "Pad", "com.microsoft.QLinearConcat"})
"""Ops that add elements, for which a scale must be known first."""


def moving(op: str, rule: Rule) -> Rule:
    """`rule` of the op `op`, which takes float32 results of layers too and notes what ONNX Runtime does not join."""

    def moved(node: Node) -> State | Sequence[State]:
        state = node.state(0)
        if isinstance(state, Pending) and op not in REMOVED | NOT_BEHIND_LAYERS:
            return _behind(node, state, "" if op in JOINED else op, rule)
        made = rule(node)
        if op in JOINED and not _is_quantized_elsewhere(node):
            return made
        return [_apart(result, op) for result in (made if isinstance(made, Sequence) else [made])]

    return moved


_FARTHEST = 64
"""Nodes that are looked at behind one; more do not stand between a layer and its QuantizeLinear."""


def _is_quantized_elsewhere(node: Node) -> bool:
    """Whether several nodes read the result and QuantizeLinear stands behind one of them, with nothing but moves between.

    ONNX Runtime then moves that QuantizeLinear up, and DequantizeLinear no longer down to the others.
    """
    if node.info.op in REMOVED:
        return False
    readers = node.graph.readers
    names, seen, is_shared = [name for name in node.info.outputs if name], 0, False
    reaches = False
    while names and seen <= _FARTHEST:
        followers = readers.get(names.pop(), ())
        is_shared |= len(followers) > 1
        for follower in followers:
            seen += 1
            reaches |= follower.op == "QuantizeLinear"
            if follower.op in JOINED | {"Cast"}:
                names.extend(follower.outputs[:1])
    return is_shared and (reaches or seen > _FARTHEST)


def _apart(state: State, op: str) -> State:
    if isinstance(state, Activation) and state.real and not state.apart:
        return replace(state, apart=op)
    return state


def _behind(node: Node, state: Pending, apart: str, rule: Rule) -> Sequence[State]:
    """The results of `rule` for a layer that has no scale yet: once there is one, the layer's ops are made, then those of the rule."""
    name = node.info.inputs[0]
    shared = state.shared or node.graph.uses[name] > 1

    def results(within: Node, value: SSAValue, unsigned: bool) -> list[Activation]:
        states = ChainMap[str, State]({name: Activation(value, True, unsigned)}, cast(MutableMapping[str, State], within.states))
        made = rule(replace(within, states=states))
        return [cast(Activation, result) for result in (made if isinstance(made, Sequence) else [made])]

    def emitter(emit: Callable[[Quantization], SSAValue], position: int) -> Callable[[Quantization], SSAValue]:
        return lambda out: results(node, emit(out), out.unsigned)[position].value

    # Shapes do not depend on scales: any will do, in a block that is thrown away.
    scratch = Block(arg_types=[TensorType(Tensor(state.shape, "i8", 1.0, 0))])
    shapes = [result.shape for result in results(replace(node, block=scratch), scratch.args[0], False)]
    return [
        replace(
            state,
            shape=shape,
            emit=emitter(state.emit, position),
            emit_real=None if state.emit_real is None else emitter(state.emit_real, position),
            shared=shared,
            apart=state.apart or apart,
            moved=state.moved or node.info.op,
        )
        for position, shape in enumerate(shapes)
    ]
