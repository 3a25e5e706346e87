"""How a few neighbouring outputs of one row are computed from int16 pairs: which words are multiplied with which pairs of taps.

A plane's row is read as words of two neighbouring columns. An output that starts at an even column meets its taps as (0, 1), (2, 3), ...;
one that starts at an odd column as a single 0, then (1, 2), (3, 4), ...: hence two sets of weight pairs, each of which one SMLAD uses
whole. Single taps take the half of a pair that holds them. Dilation leaves holes between the taps, and only words that carry a tap occur.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import permutations

WeightPair = tuple[int | None, int | None]


@dataclass(frozen=True)
class Product:
    """accumulator[output] += halves of data word `data` times halves of weight word `weight`; `kind` is 2, LL, LH, HL or HH."""

    output: int
    data: int
    weight: int
    kind: str


@dataclass(frozen=True)
class Tile:
    """The products of one kernel row for `outputs` neighbouring outputs."""

    outputs: int
    data_words: int
    products: tuple[Product, ...]

    @property
    def weights_used(self) -> list[int]:
        """Indices of the weight words, ascending."""
        return sorted({product.weight for product in self.products})

    @property
    def instructions(self) -> int:
        """Loads and products of one kernel row: neighbouring weights, an even one first, are loaded together."""
        used = self.weights_used
        weights = len(used) - sum(index % 2 == 0 and index + 1 in used for index in used)
        return weights + len(self.loads) + len(self.products)

    @property
    def first_products(self) -> list[Product]:
        """Per output the product that is computed first: the one that starts its accumulator."""
        first: dict[int, Product] = {}
        for _, _, products in self.loads:
            for product in products:
                first.setdefault(product.output, product)
        return list(first.values())

    @property
    def loads(self) -> list[tuple[int, int, tuple[Product, ...]]]:
        """Groups of one or two neighbouring data words with what they are multiplied with: (first word, words, products)."""
        used = sorted({product.data for product in self.products})
        groups: list[tuple[int, int, tuple[Product, ...]]] = []
        position = 0
        while position < len(used):
            count = 2 if position + 1 < len(used) and used[position + 1] == used[position] + 1 else 1
            words = used[position : position + count]
            groups.append((words[0], count, tuple(product for product in self.products if product.data in words)))
            position += count
        return groups


def _pairs_of_output(start: int, kernel_width: int, dilation: int) -> dict[int, WeightPair]:
    """Data word -> the taps on its two columns, for an output whose first tap is at column `start`."""
    pairs: dict[int, list[int | None]] = {}
    for tap in range(kernel_width):
        column = start + tap * dilation
        pairs.setdefault(column // 2, [None, None])[column % 2] = tap
    return {word: (taps[0], taps[1]) for word, taps in pairs.items()}


@dataclass(frozen=True)
class WeightLayout:
    """How the weights of one kernel row lie in flash: `taps` by byte (None is anything), and at which bytes words are loaded.

    A word gives two pairs, its even and its odd bytes. Words overlap where they hold the same taps in the right places, and the last one
    may reach into the next row, where only the half of a pair is used.
    """

    taps: tuple[int | None, ...]
    offsets: tuple[int, ...]
    pairs: tuple[WeightPair, ...]
    """Of all words, in order; an even number, the last may be empty."""


_SEARCHED_AT_MOST = 6
"""Pairs whose orders are all tried."""
_EMPTY: WeightPair = (None, None)


def _pairs(kernel_width: int, stride: int, dilation: int) -> list[WeightPair]:
    """The pairs of taps that tiles multiply with, ascending."""
    starts = (0, 1) if stride % 2 else (0,)
    pairs = [pair for start in starts for pair in _pairs_of_output(start, kernel_width, dilation).values()]
    whole = sorted({pair for pair in pairs if None not in pair}, key=str)
    held = {tap for pair in whole for tap in pair}
    found: list[WeightPair] = list(whole)
    for pair in pairs:
        tap = pair[0] if pair[1] is None else pair[1] if pair[0] is None else None
        if tap is not None and tap not in held:
            found.append((tap, None))
            held.add(tap)
    return sorted(found, key=lambda pair: pair[0] if pair[0] is not None else 0)


def _place(taps: tuple[int | None, ...], word: tuple[int | None, ...], first: int) -> tuple[tuple[int | None, ...], int]:
    """`taps` with `word` at the least offset from `first` on where it contradicts nothing, and that offset."""
    for offset in range(first, len(taps) + 1):
        present = taps[offset : offset + 4]
        if all(old is None or new is None or old == new for old, new in zip(present, word, strict=False)):
            merged = [old if old is not None else new for old, new in zip(present, word, strict=False)]
            return (*taps[:offset], *merged, *word[len(present) :]), offset
    raise AssertionError("a word always fits behind the others")


def _trimmed(taps: tuple[int | None, ...]) -> tuple[int | None, ...]:
    while taps and taps[-1] is None:
        taps = taps[:-1]
    return taps


@cache
def weight_layout(kernel_width: int, stride: int, dilation: int) -> WeightLayout:
    """The layout with the fewest bytes for `kernel_width` taps `dilation` columns apart; wide kernels get one without overlaps."""
    pairs = _pairs(kernel_width, stride, dilation)
    pairs += [_EMPTY] * (len(pairs) % 2)
    orders = permutations(pairs) if len(pairs) <= _SEARCHED_AT_MOST else [tuple(pairs)]
    best: WeightLayout | None = None
    for order in orders:
        taps: tuple[int | None, ...] = ()
        offsets: list[int] = []
        for even, odd in zip(order[::2], order[1::2], strict=True):
            taps, offset = _place(taps, (even[0], odd[0], even[1], odd[1]), offsets[-1] + 1 if offsets else 0)
            offsets.append(offset)
        layout = WeightLayout(_trimmed(taps), tuple(offsets), tuple(order))
        if best is None or len(layout.taps) < len(best.taps):
            best = layout
    assert best is not None
    return best


def weight_words(kernel_width: int, stride: int, dilation: int) -> list[WeightPair]:
    """The weight words of one kernel row, as taps in their low and high half, in the order in which they are unpacked."""
    return list(weight_layout(kernel_width, stride, dilation).pairs)


def plan_tile(outputs: int, kernel_width: int, stride: int, dilation: int) -> Tile:
    """The products for `outputs` neighbouring outputs, the first of which starts at an even column."""
    words = weight_words(kernel_width, stride, dilation)
    products: list[Product] = []
    for output in range(outputs):
        for data, (low, high) in _pairs_of_output(output * stride, kernel_width, dilation).items():
            if low is not None and high is not None:
                products.append(Product(output, data, words.index((low, high)), "2"))
                continue
            tap = low if low is not None else high
            weight = next(index for index, word in enumerate(words) if tap in word)
            half = "L" if words[weight][0] == tap else "H"
            products.append(Product(output, data, weight, ("L" if high is None else "H") + half))
    return Tile(outputs, max(product.data for product in products) + 1, tuple(products))
