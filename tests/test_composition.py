"""Hydra, asked in our words: which words it gets, and how a study gets its name."""

import pytest

from leyden.composition import is_override, see_own_parts


@pytest.mark.parametrize(
    ("word", "expected"),
    [("seed=1", True), ("+a.b=c", True), ("~callbacks.ema", True), ("-m", False), ("--cfg=job", False), ("job", False)],
)
def test_a_word_with_a_value_is_an_override(word: str, expected: bool) -> None:
    assert is_override(word) is expected


def test_own_parts_are_found_where_the_command_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", ["/elsewhere"])
    see_own_parts()
    see_own_parts()
    import sys

    assert sys.path == ["", "/elsewhere"]
