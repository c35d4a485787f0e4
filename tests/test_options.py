"""Words key=value of a command line, against what a command takes."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from leyden.options import help_of, option, parse, with_absolute_path


@dataclass(frozen=True)
class Options:
    """Does something with a run."""

    run: Path = option("a run's directory")
    split: Literal["val", "test"] = option("the images", "test")
    top: int = option("answers for each image", 1)
    share: float | None = option("of the images", None)
    draw: bool = option("draw pictures", True)


def test_values_are_of_the_kinds_that_the_fields_name() -> None:
    asked, words = parse(Options, ["run=a b/é=c", "top=3", "share=0.5", "draw=false", "split=val"])
    assert asked == Options(Path("a b/é=c"), "val", 3, 0.5, False)
    assert words == []


def test_what_is_not_given_has_its_default_and_null_is_none() -> None:
    assert parse(Options, ["run=x", "share=null"])[0] == Options(Path("x"))


def test_words_for_a_config_group_are_handed_on() -> None:
    assert parse(Options, ["run=x", "data=elpv", "data.root=y"], ["data"])[1] == ["data=elpv", "data.root=y"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run=x", "splt=val"], "unknown key 'splt' (splt=val): did you mean 'split'?"),
        (["run=x", "split=train"], "split=train: expected one of test, val"),
        (["run=x", "top=many"], "top=many: expected a whole number"),
        (["run=x", "share=half"], "share=half: expected a number"),
        (["run=x", "draw=yes"], "draw=yes: expected true or false"),
        (["run="], "run= has no value: give one"),
        (["x"], "x: expected key=value, as in run=…, with the keys run, split, top, share, draw"),
        (["split=val"], "run is missing: give run=…, a run's directory"),
        (["run=x", "data=elpv"], "unknown key 'data' (data=elpv)"),
    ],
)
def test_a_wrong_word_gets_one_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(sentence)):
        parse(Options, words)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("data.root=a b", 'data.root="{here}/a b"'),
        ("data.cache_directory=a b", 'data.cache_directory="{here}/a b"'),
        ("data.root=absent", "data.root=absent"),
        ("data.root=", "data.root="),
        ("root", "root"),
        ("name=a b", "name=a b"),
    ],
)
def test_path_that_exists_is_made_absolute(
    word: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a b").mkdir()
    monkeypatch.chdir(tmp_path)
    assert with_absolute_path(word) == expected.format(here=tmp_path)


def test_help_names_every_key_and_its_default() -> None:
    text = help_of(Options, "evaluate", "also: data=…")
    assert "usage: leyden evaluate run=… [key=value …]" in text
    assert "  share           of the images (default: null)" in text
    assert "(default: true)" in text
    assert text.endswith("also: data=…")
