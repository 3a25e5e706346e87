"""Peak RAM against instructions, or estimated cycles of Cortex-M7: the points as data, and as text, JSON and an SVG file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from tinyc.errors import printable
from tinyc.report.templating import environment

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 96, 28, 58, 56
_TICKS = 6


@dataclass(frozen=True)
class CurvePoint:
    """One schedule: `flag` makes `tinyc compile` choose it. RAM is arena, static RAM and, where measured, stack."""

    flag: str
    ram_bytes: int
    arena_bytes: int
    stack_bytes: int | None
    flash_bytes: int
    cost: int
    instructions: int | None = None
    """As counted in QEMU, where they were."""
    again_macs: int = 0
    """Multiply-adds that are done a second time."""


@dataclass(frozen=True)
class Curve:
    """The points, smallest RAM first; `unit` is what costs count, `source` where they are from, `ram_limit_bytes` what the target has."""

    name: str
    target: str
    numerics: str
    unit: str
    source: str
    counted: bool
    ram_limit_bytes: int
    points: tuple[CurvePoint, ...]

    @property
    def counts_beside_cost(self) -> bool:
        """Whether instructions were counted, and schedules chosen by something else."""
        return self.unit != "instructions" and all(point.instructions is not None for point in self.points)

    @property
    def fastest(self) -> CurvePoint:
        """The point with the least cost."""
        return min(self.points, key=lambda point: point.cost)

    def slower_percent(self, point: CurvePoint) -> float:
        """How many percent slower than the fastest point `point` is."""
        return 100 * point.cost / self.fastest.cost - 100


@dataclass(frozen=True)
class _Place:
    """A point of the picture, in pixels, with the text of its tooltip."""

    x: float
    y: float
    title: str


@dataclass(frozen=True)
class _Tick:
    at: float
    label: str


def curve_text(curve: Curve) -> str:
    """A line a point."""
    sources = curve.source if not curve.counts_beside_cost else f"{curve.source}, instructions counted in QEMU"
    lines = [f"{printable(curve.name)} on {curve.target}, numerics {curve.numerics}; {curve.unit} {sources}"]
    counted = f"  {'instructions':>13}" if curve.counts_beside_cost else ""
    lines.append(
        f"{'RAM':>9}  {'arena':>9}  {'stack':>6}  {'flash':>10}{counted}  {curve.unit:>13}  {'to fastest':>10}  flag of tinyc compile"
    )
    for point in curve.points:
        stack = "-" if point.stack_bytes is None else f"{point.stack_bytes:,}"
        numbers = f"{point.ram_bytes:>9,}  {point.arena_bytes:>9,}  {stack:>6}  {point.flash_bytes:>10,}"
        if curve.counts_beside_cost:
            numbers += f"  {point.instructions or 0:>13,}"
        again = f"   ({point.again_macs:,} multiply-adds twice)" if point.again_macs else ""
        lines.append(f"{numbers}  {point.cost:>13,}  {curve.slower_percent(point):>+8.1f} %  {point.flag}{again}")
    return "\n".join(lines) + "\n"


def curve_json(curve: Curve) -> str:
    """The data as JSON."""
    return json.dumps(asdict(curve), indent=1) + "\n"


def curve_svg(curve: Curve) -> str:
    """The picture as one SVG file that needs nothing else; each point has its figures and its flag as tooltip."""
    rams, counts = [point.ram_bytes for point in curve.points], [point.cost for point in curve.points]
    across, ticks_x = _scale(0, max(rams), LEFT, WIDTH - RIGHT)
    # Costs differ by a few percent where RAM differs by a multiple: their axis does not start at 0, and says so.
    spread = max(max(counts) - min(counts), max(counts) // 50, 1)
    up, ticks_y = _scale(max(0, min(counts) - spread // 4), max(counts) + spread // 8, HEIGHT - BOTTOM, TOP)
    places = [
        _Place(across(point.ram_bytes), up(point.cost), f"{point.ram_bytes:,} bytes, {point.cost:,} {curve.unit}: {point.flag}")
        for point in curve.points
    ]
    # With less RAM than the next point needs the network is as fast as this one: steps, not slopes.
    path = f"M{places[0].x} {places[0].y}" + "".join(f" H{place.x} V{place.y}" for place in places[1:]) + f" H{WIDTH - RIGHT}"
    return (
        environment()
        .get_template("curve.svg.j2")
        .render(
            curve=curve,
            title=printable(curve.name, 80),
            places=places,
            path=path,
            ticks_x=ticks_x,
            ticks_y=ticks_y,
            width=WIDTH,
            height=HEIGHT,
            left=LEFT,
            right=WIDTH - RIGHT,
            top=TOP,
            bottom=HEIGHT - BOTTOM,
        )
    )


class _Axis:
    """A straight line from values to pixels."""

    def __init__(self, low: float, high: float, begin: float, end: float) -> None:
        self.low, self.begin = low, begin
        self.factor = (end - begin) / max(high - low, 1)

    def __call__(self, value: float) -> float:
        return round(self.begin + (value - self.low) * self.factor, 1)


def _scale(low: int, high: int, begin: float, end: float) -> tuple[_Axis, list[_Tick]]:
    """The axis, and its lines at round numbers."""
    step = next(size for power in range(15) for size in (10**power, 2 * 10**power, 5 * 10**power) if high - low <= size * _TICKS)
    first = -(-low // step) * step
    axis = _Axis(low, high, begin, end)
    return axis, [_Tick(axis(value), f"{value:,}") for value in range(first, high + 1, step)]
