"""The bound on the stack knows functions that gcc has folded into others with the same code."""

from __future__ import annotations

import pytest

from tinyc.driver.measure import deepest_stack, has_folded, measure
from tinyc.errors import ToolError
from tinyc.targets import load_target
from tinyc.toolchains.gcc_arm import SMALL, find_gcc_arm

_TWIN = """
static __attribute__((noinline)) void twin_{name}(volatile char *sum)
{{
    volatile char room[{bytes}];
    room[*sum & 7] = 1;
    *sum = (char)(*sum + room[3]);
}}
"""
_PATHS = """
static __attribute__((noinline)) void shallow(volatile char *sum) { twin_a(sum); *sum = 1; }
static __attribute__((noinline)) void deep(volatile char *sum)
{
    volatile char room[400];
    room[*sum & 7] = 2;
    twin_b(sum);
    *sum = (char)(*sum + room[5]);
}
void entry(volatile char *sum);
void entry(volatile char *sum) { shallow(sum); deep(sum); *sum = 3; }
"""


def test_a_folded_function_counts_with_its_frame() -> None:
    try:
        find_gcc_arm()
    except ToolError as error:
        pytest.skip(str(error))
    source = _TWIN.format(name="a", bytes=200) + _TWIN.format(name="b", bytes=200) + _PATHS
    measured = measure({"twins.c": source}, "twins", "entry", load_target("cortex-m4"), SMALL)
    assert measured is not None
    assert measured.stack_bytes >= 600


def test_a_graph_with_an_edge_to_a_local_function_without_a_frame_is_folded() -> None:
    node = 'node: { title: "n.c:f" label: "f\\nn.c:1:1\\n16 bytes (static)" }\n'
    edge = 'edge: { sourcename: "n.c:f" targetname: "%s" label: "n.c:2:2" }\n'
    assert has_folded(node + edge % "n.c:g")
    assert not has_folded(node + edge % "memcpy")
    assert deepest_stack(node + edge % "memcpy", "f") == 48


def test_a_folded_function_counts_like_the_deepest_that_may_have_taken_its_place() -> None:
    def node(name: str, size: int) -> str:
        return f'node: {{ title: "n.c:{name}" label: "{name}\\nn.c:1:1\\n{size} bytes (static)" }}\n'

    def edge(source: str, target: str) -> str:
        return f'edge: {{ sourcename: "n.c:{source}" targetname: "n.c:{target}" label: "n.c:2:2" }}\n'

    calls = edge("root", "kept") + edge("root", "other") + edge("root", "gone") + edge("kept", "leaf") + edge("gone", "leaf")
    apart = calls + node("root", 8) + node("kept", 40) + node("gone", 40) + node("other", 40) + node("leaf", 16)
    folded = calls + node("root", 8) + node("kept", 48) + node("other", 40) + node("leaf", 16)
    assert deepest_stack(apart, "root") == 8 + 40 + 16
    assert deepest_stack(folded, "root", apart) == 8 + 48 + 16
    assert deepest_stack(folded.replace(edge("root", "kept"), ""), "root", apart) == 8 + 48 + 16
