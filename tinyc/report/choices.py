"""What the compiler chose for each layer, among what, at what cost, and why: as data, text and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from tinyc.errors import printable

_SHOWN = 8
"""Alternatives of one choice in the text; JSON has all."""


@dataclass(frozen=True)
class Alternative:
    """One way to do it. About what the layer costs in one inference; bytes of flash and of working memory, or None where the
    choice does not touch them. `reason` says why it was taken or not."""

    value: str
    taken: bool
    reason: str
    cost: int | None = None
    flash_bytes: int | None = None
    ram_bytes: int | None = None


@dataclass(frozen=True)
class Choice:
    """A decision that `source`, a pass, made about a layer, by the layer's name and the decision's name in `--pin`."""

    layer: str
    decision: str
    source: str
    alternatives: tuple[Alternative, ...]
    pinned: bool = False

    @property
    def taken(self) -> Alternative:
        """What was chosen."""
        return next(entry for entry in self.alternatives if entry.taken)


@dataclass(frozen=True)
class Layer:
    """A layer: its name in `--pin`, its op, its name in the model, and the family of its kernel."""

    name: str
    op: str
    title: str
    kernel: str


@dataclass(frozen=True)
class Explanation:
    """All layers in the order of the schedule, and all choices, in the order in which they were made; `cost_unit` is what costs count."""

    network: str
    target: str
    numerics: str
    layers: tuple[Layer, ...]
    choices: tuple[Choice, ...]
    cost_unit: str = "instructions"

    def of(self, layer: str) -> list[Choice]:
        """The choices about a layer."""
        return [choice for choice in self.choices if choice.layer == layer]


def final_choices(choices: Sequence[Choice]) -> tuple[Choice, ...]:
    """`choices` with one for each layer and decision: where two passes made it, the later one's, with what the earlier one did not take."""
    found: dict[tuple[str, str], Choice] = {}
    for choice in choices:
        key = (choice.layer, choice.decision)
        former = found.pop(key).alternatives if key in found else ()
        values = {entry.value for entry in choice.alternatives}
        others = tuple(entry for entry in former if not entry.taken and entry.value not in values)
        found[key] = replace(choice, alternatives=(*choice.alternatives, *others))
    return tuple(found.values())


def explanation_json(explanation: Explanation) -> str:
    """One JSON object; docs/cli.md describes its keys."""
    layers = []
    for layer in explanation.layers:
        choices = [
            {
                "decision": choice.decision,
                "pass": choice.source,
                "value": choice.taken.value,
                "pinned": choice.pinned,
                "alternatives": [asdict(entry) for entry in choice.alternatives],
            }
            for choice in explanation.of(layer.name)
        ]
        layers.append({"layer": layer.name, "op": layer.op, "name": layer.title, "kernel": layer.kernel, "choices": choices})
    head: Mapping[str, str] = {"network": explanation.network, "target": explanation.target, "numerics": explanation.numerics}
    head = {**head, "cost_unit": explanation.cost_unit}
    return json.dumps({"schema": 1, **head, "layers": layers}, indent=1) + "\n"


def explanation_text(explanation: Explanation) -> str:
    """A block for each layer that there was something to choose about."""
    counted = explanation.cost_unit.removeprefix("est. ")
    lines = [
        f"choices           {explanation.network} on {explanation.target}, numerics {explanation.numerics}",
        f"                  {counted} are estimated, of the layer in one inference; flash and RAM are bytes that the choice is about",
        "                  > was taken; pin another with --pin LAYER:DECISION=VALUE",
    ]
    for layer in explanation.layers:
        choices = explanation.of(layer.name)
        if not choices:
            continue
        lines += ["", f"{layer.name}: {layer.op}, {layer.kernel}, {printable(layer.title, 60)}"]
        lines.append(f"    {'decision':<16}{'value':<14}{explanation.cost_unit:>14}{'flash':>9}{'RAM':>9}  why")
        for choice in choices:
            lines += _choice_lines(choice)
    return "\n".join(lines) + "\n"


def _choice_lines(choice: Choice) -> list[str]:
    shown = _most_telling(choice.alternatives)
    lines = []
    for number, entry in enumerate(shown):
        title = choice.decision if number == 0 else ""
        numbers = (entry.cost, entry.flash_bytes, entry.ram_bytes)
        costs = "".join(f"{'' if value is None else f'{value:,}':>{width}}" for value, width in zip(numbers, (14, 9, 9), strict=True))
        lines.append(f"  {'>' if entry.taken else ' '} {title:<16}{entry.value:<14}{costs}  {entry.reason}")
    hidden = len(choice.alternatives) - len(shown)
    return lines if not hidden else [*lines, f"    {'':<16}and {hidden} more; --json lists all"]


def _most_telling(alternatives: Sequence[Alternative]) -> Sequence[Alternative]:
    """What was taken, and those nearest to it in the order of the list."""
    if len(alternatives) <= _SHOWN:
        return alternatives
    position = next(number for number, entry in enumerate(alternatives) if entry.taken)
    begin = min(max(0, position - _SHOWN // 2), len(alternatives) - _SHOWN)
    return alternatives[begin : begin + _SHOWN]
