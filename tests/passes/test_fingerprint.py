"""Every change to a module changes its fingerprint; a pass that changes nothing is not verified again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, StringAttr, UnitAttr
from xdsl.passes import ModulePass

from support.network_builder import NetworkBuilder
from tinyc.errors import PassError
from tinyc.ir.nn_base import tensor_of
from tinyc.passes.fingerprint import fingerprint, unchanged
from tinyc.passes.manager import run_passes
from tinyc.passes.rewriting import main_block


def network() -> ModuleOp:
    builder = NetworkBuilder(3)
    image = builder.input((1, 6, 5, 2))
    return builder.finish(builder.add(builder.conv(image, 2), image))


def test_a_module_left_alone_keeps_its_fingerprint() -> None:
    module = network()
    assert unchanged(fingerprint(module), fingerprint(module))
    assert not unchanged(fingerprint(module), fingerprint(module.clone()))


def add_attribute(module: ModuleOp) -> None:
    module.attributes["note"] = UnitAttr()


def rename_attribute(module: ModuleOp) -> None:
    module.attributes["other"] = module.attributes.pop("given")


def change_property(module: ModuleOp) -> None:
    op = next(op for op in main_block(module).ops if op.properties)
    name = next(iter(op.properties))
    op.properties[name] = StringAttr("changed")


def change_operand(module: ModuleOp) -> None:
    op = next(op for op in main_block(module).ops if "add" in op.name)
    op.operands[0] = op.operands[1]


def change_result_type(module: ModuleOp) -> None:
    op = next(op for op in main_block(module).ops if op.results)
    op.results[0]._type = tensor_of(main_block(module).args[0])


def change_argument_type(module: ModuleOp) -> None:
    main_block(module).args[0]._type = tensor_of(next(op for op in main_block(module).ops if "add" in op.name).results[0])


def remove_op(module: ModuleOp) -> None:
    list(main_block(module).ops)[-1].detach()


def move_op(module: ModuleOp) -> None:
    block = main_block(module)
    first = next(iter(block.ops))
    first.detach()
    block.add_op(first)


CHANGES = [add_attribute, rename_attribute, change_property, change_operand, change_result_type, change_argument_type, remove_op, move_op]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_any_change_is_seen(change: Callable[[ModuleOp], None]) -> None:
    module = network()
    module.attributes["given"] = UnitAttr()
    before = fingerprint(module)
    change(module)
    assert not unchanged(before, fingerprint(module))


@dataclass(frozen=True)
class Idle(ModulePass):
    name = "idle"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        del ctx, op


@dataclass(frozen=True)
class Damage(ModulePass):
    name = "damage"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        convolution = next(entry for entry in main_block(op).ops if "conv" in entry.name)
        convolution.properties[next(iter(convolution.properties))] = IntegerAttr(1, 32)


def test_only_what_changed_is_verified_and_the_pass_that_damaged_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    sound, damaged, verified = network(), network(), list[int]()
    verify = ModuleOp.verify
    monkeypatch.setattr(ModuleOp, "verify", lambda module: (verified.append(1), verify(module))[1])
    run_passes(sound, [Idle(), Idle(), Idle()])
    assert len(verified) == 1
    with pytest.raises(PassError, match="pass damage left IR that does not verify"):
        run_passes(sound, [Idle(), Damage(), Idle()])
    assert len(verified) == 3
    Damage().apply(Context(), damaged)
    with pytest.raises(PassError, match="pass idle left IR that does not verify"):
        run_passes(damaged, [Idle()])
