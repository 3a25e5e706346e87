"""Names from models never reach C, a path or a comment as they are."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.host_network import compile_for_host
from support.network_builder import NetworkBuilder
from tinyc.backends.cortexm.names import MAX_PREFIX, c_prefix, comment_text
from tinyc.errors import UsageError
from tinyc.ir.nn_base import set_layer


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("vww_96_int8", "vww_96_int8"),
        ("mcunet-in3", "mcunet_in3"),
        ("a  b//c..d", "a_b_c_d"),
        ("__x__", "x"),
        ("96_vww", "net_96_vww"),
        ("int", "net_int"),
        ("main", "net_main"),
        ("class", "net_class"),
        ("tinyc_conv", "net_tinyc_conv"),
        ("TinyC", "net_TinyC"),
        ("../../etc/passwd", "etc_passwd"),
        ("réseau", "r_seau"),
        ("stdint", "net_stdint"),
        ("String", "net_String"),
        ("math", "net_math"),
        ("con", "net_con"),
        ("mathematics", "mathematics"),
    ],
)
def test_c_names_of_models(name: str, prefix: str) -> None:
    assert c_prefix(name) == prefix


@pytest.mark.parametrize("name", ["", "___", "漢字", "*/", "\x00"])
def test_a_name_without_letters_is_refused_with_the_way_out(name: str) -> None:
    with pytest.raises(UsageError, match="--name"):
        c_prefix(name)


def test_a_name_that_is_too_long_is_refused() -> None:
    assert c_prefix("x" * MAX_PREFIX) == "x" * MAX_PREFIX
    with pytest.raises(UsageError, match="at most 40"):
        c_prefix("x" * (MAX_PREFIX + 1))
    with pytest.raises(UsageError, match="at most 40"):
        c_prefix("9" * (MAX_PREFIX - 3))


@given(st.text(max_size=30))
def test_any_name_becomes_an_identifier_or_is_refused(name: str) -> None:
    try:
        prefix = c_prefix(name)
    except UsageError:
        assert not re.search("[A-Za-z0-9]", name)
    else:
        assert re.fullmatch("[A-Za-z][A-Za-z0-9_]*", prefix)
        assert c_prefix(prefix) == prefix


@given(st.text(max_size=200))
def test_any_text_in_a_comment_ends_no_comment_and_continues_no_line(name: str) -> None:
    text = comment_text(name)
    assert re.fullmatch(r"[A-Za-z0-9_.,:+ -]*", text)
    assert len(text) <= 83


def test_hostile_layer_names_stay_inside_their_comments() -> None:
    builder = NetworkBuilder(13)
    value = builder.clamp(builder.input((1, 4, 4, 1)), (0, 9))
    hostile = '*/ int evil(void) { return 1; } /* \\\n#error "no" ??/'
    set_layer(value.owner, hostile)  # type: ignore[arg-type]
    network = compile_for_host(builder.finish(value))
    for file, text in network.files.items():
        if file.endswith((".c", ".h")):
            assert "evil(void)" not in text
            assert "#error" not in text
