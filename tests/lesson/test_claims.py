"""Every claim can be refuted by something that runs; mistakes in them are named."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from leyden.config import CONFIG_DIRECTORY
from leyden.lesson.claims import Claim, choose, read_lesson
from leyden.lesson.measurements import MEASUREMENTS, OF_RUNS

LESSON = read_lesson()
CONTRAST = {"name": "n", "above": 0, "of": {"a": 1}}
CLAIM = {"title": "t", "sentence": "s", "prediction": "p", "study": "x", "contrasts": [CONTRAST]}


def factors_of(study: str, words: Any) -> dict[str, list[str]]:
    """The values that a preset tries, as they are typed."""
    preset = yaml.safe_load((CONFIG_DIRECTORY / "study" / f"{study}.yaml").read_text(encoding="utf-8"))
    found = {key: str(values).split(",") for key, values in preset["hydra"]["sweeper"]["params"].items()}
    return found | {
        key: values.split(",") for key, _, values in (word.partition("=") for word in words) if "," in values
    }


def test_lesson_has_about_twenty_claims_in_five_chapters() -> None:
    assert sorted(LESSON.chapters) == [1, 2, 3, 4, 5]
    assert 18 <= len(LESSON.claims) <= 26
    assert {claim.chapter for claim in LESSON.claims} == set(LESSON.chapters)
    assert len({claim.title for claim in LESSON.claims}) == len(LESSON.claims)


@pytest.mark.parametrize("claim", LESSON.claims, ids=lambda claim: claim.id)
def test_claim_names_settings_that_its_study_tries(claim: Claim) -> None:
    factors = factors_of(claim.study, claim.words) if claim.study else {}
    for contrast in claim.contrasts:
        for side in [*contrast.of, *contrast.minus]:
            for key, levels in side.items():
                if key == "metric":
                    continue
                for level in levels if isinstance(levels, list) else [levels]:
                    assert yaml.safe_dump(level) in [yaml.safe_dump(yaml.safe_load(value)) for value in factors[key]]
    for picture in claim.pictures:
        assert {picture.along, picture.by, *picture.at} - {""} <= factors.keys()
    if any(contrast.measured for contrast in claim.contrasts):
        assert claim.measure in {*MEASUREMENTS, *OF_RUNS}


@pytest.mark.parametrize("study", sorted({claim.study for claim in LESSON.claims} - {""}))
def test_study_has_five_seeds_or_more(study: str) -> None:
    assert len(factors_of(study, ())["seed"]) >= 5


def test_fast_is_a_part_of_the_whole_and_has_each_of_the_first_four_chapters() -> None:
    fast = choose(LESSON, [], is_fast=True)
    assert {claim.chapter for claim in fast} == {1, 2, 3, 4}
    assert len(fast) < len(choose(LESSON, [], is_fast=False)) == len(LESSON.claims)
    assert [claim.id for claim in choose(LESSON, ["dropout"], is_fast=False)] == ["dropout"]
    with pytest.raises(ValueError, match="there is no claim 'dropuot': did you mean 'dropout'"):
        choose(LESSON, ["dropuot"], is_fast=False)


def test_claim_that_fast_does_not_test_is_not_passed_over_in_silence() -> None:
    with pytest.raises(ValueError, match="--fast does not test momentum: leave --fast out"):
        choose(LESSON, ["momentum", "layers"], is_fast=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"studdy": "x"}, "unknown key 'studdy': did you mean 'study'?"),
        ({"contrasts": []}, "has no contrasts"),
        ({"study": ""}, "neither study nor measure"),
        ({"title": None}, "has no title"),
        ({"contrasts": [CONTRAST | {"below": 0}]}, "give one of above and below"),
        ({"contrasts": [{"name": "n", "of": {"a": 1}}]}, "give one of above and below"),
        ({"contrasts": [{"name": "n", "above": 0}]}, "give one of `of`"),
        ({"notes": [{"when": "+ -", "says": "s"}]}, "a mark for each of 1 contrasts"),
    ],
)
def test_mistake_in_a_claim_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    claim = {key: value for key, value in (CLAIM | change).items() if value is not None}
    path = tmp_path / "1.yaml"
    path.write_text(yaml.safe_dump({"title": "One", "claims": {"mine": claim}}), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}: mine.*{re.escape(message)}"):
        read_lesson(tmp_path)
