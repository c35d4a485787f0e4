"""Hydra's own grammar of sweeps means to a search what it means to a grid."""

from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from leyden.study.space import Parameter, parse_space


def parse(*lines: str) -> dict[str, Parameter]:
    return parse_space(OverridesParser.create().parse_overrides(list(lines)))


def only(line: str) -> Parameter:
    (parameter,) = parse(line).values()
    return parameter


@pytest.mark.parametrize(
    "line",
    [
        "a=x,y", "a=choice(x,true,1e-3)", "a=null,1", "a=1,2,4", "a=1,2,2", "a=[1,2],[3]", "a='x y','z'",
        "a=range(1,10,2)",
        "a=range(10,1,-3)", "a=range(0,1,0.25)", "a=range(0.1,0.5,0.1)", "a=float(range(1,4))", "a=sort(3,1,2)",
        "a=shuffle(1,2,3)", "a=shuffle(range(1,4))", "+a=1,2", "group@place=x,y",
    ],
)  # fmt: skip
def test_what_can_be_counted_has_the_values_that_a_grid_has(line: str) -> None:
    parameter = only(line)
    (override,) = OverridesParser.create().parse_overrides([line])
    expected = {_plain(f"{override.get_key_element()}={text}") for text in override.sweep_string_iterator()}
    assert parameter.cells is not None
    assert {_plain(parameter.override(value)) for value in parameter.cells} == expected
    assert {parameter.override(end) for end in parameter.ends} <= {parameter.override(cell) for cell in parameter.cells}


def _plain(override: str) -> Any:
    """What Hydra reads in an override, its floats without their last bits."""
    (parsed,) = OverridesParser.create().parse_overrides([override])
    value = parsed.value()
    return parsed.get_key_element(), f"{value:.12g}" if isinstance(value, float) else repr(value)


@pytest.mark.parametrize(
    ("line", "kind", "low", "high", "is_log"),
    [
        ("lr=interval(0,0.5)", "FloatDistribution", 0.0, 0.5, False),
        ("lr=interval(1,5)", "FloatDistribution", 1.0, 5.0, False),
        ("lr=tag(log,interval(1e-5,1e-1))", "FloatDistribution", 1e-5, 0.1, True),
        ("width=int(interval(16,256))", "IntDistribution", 16, 256, False),
        ("width=tag(int,interval(16,256))", "IntDistribution", 16, 256, False),
        ("width=tag(log,int,interval(16,256))", "IntDistribution", 16, 256, True),
        ("width=int(tag(log,interval(16,256)))", "IntDistribution", 16, 256, True),
        ("width=tag(log,range(1,9))", "IntDistribution", 1, 8, True),
    ],
)
def test_intervals_and_tags_become_distributions(line: str, kind: str, low: float, high: float, is_log: bool) -> None:
    distribution: Any = only(line).distribution
    found = (type(distribution).__name__, distribution.low, distribution.high, distribution.log)
    assert found == (kind, low, high, is_log)


def test_a_value_is_written_so_that_it_is_read_as_the_same() -> None:
    parameter = only("lr=tag(log,interval(1e-7,1e-1))")
    for value in (1e-7, 0.1 + 0.2, 1 / 3, 5.0, 123456.789):
        (read,) = OverridesParser.create().parse_overrides([parameter.override(value)])
        assert read.value() == value


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "nothing to search: give a key values"),
        (["a=1,2", "a=3,4"], "a is given values twice"),
        (["a=interval(5,1)"], "begins at 5.0 and ends at 1.0"),
        (["a=tag(log,interval(0,1))"], "tag log needs numbers above 0"),
        (["a=tag(int,interval(1.5,4))"], "needs whole numbers"),
        (["a=tag(log,range(2,10,2))"], "steps of 1"),
        (["a=tag(log,range(0.1,0.5,0.1))"], "whole numbers"),
        (["a=range(5,1)"], "the range is empty"),
        (["a=tag(nice,interval(1,2))"], "unknown tag 'nice': expected log or int"),
        (["a=tag(log,choice(1,2))"], "log and int go with an interval or a range"),
        (["~a=1,2"], "a search chooses values of the config's keys alone"),
        (["hydra.sweeper.n_trials=1,2"], "a search chooses values of the config's keys alone"),
        (["a=glob(x*)"], "a=glob(x*): "),
    ],
)
def test_what_cannot_be_searched_is_one_sentence(lines: list[str], words: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        parse(*lines)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
