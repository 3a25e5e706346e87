"""Whether a pass changed a module: cheaper to find out than verifying it once more."""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp

Fingerprint = list[object]


def fingerprint(module: ModuleOp) -> Fingerprint:
    """Every operation, operand, attribute, type and block of `module` in order, as the objects themselves.

    Attributes and types cannot be changed in place, so two fingerprints with the same objects are of the same IR.
    """
    parts: Fingerprint = []
    for op in module.walk():
        parts += [op, op.parent, *op.operands, None]
        for values in (op.properties, op.attributes):
            parts += [*values, *values.values(), None]
        parts += [result.type for result in op.results]
        for region in op.regions:
            for block in region.blocks:
                parts += [block, *block.args, *(argument.type for argument in block.args), None]
    return parts


def unchanged(before: Fingerprint, after: Fingerprint) -> bool:
    """Whether both were taken of the same IR."""
    # By identity, since comparing attributes by value takes as long as verifying them; but equal names may be two strings.
    return len(before) == len(after) and all(
        first is second or (isinstance(first, str) and first == second) for first, second in zip(before, after, strict=True)
    )
