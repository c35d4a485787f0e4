"""The page of the lesson, from runs that are written in an instant, in a real browser and by its numbers."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe

from browsing import SIZES, needs_browser
from leyden.config import CONFIG_DIRECTORY
from leyden.lesson import network_measurements, optimizer_measurements
from leyden.lesson.claims import Claim, read_lesson
from leyden.lesson.command import write
from leyden.lesson.judge import Evidence, command_of, judge, notes_of
from leyden.lesson.page import answer, effect_in_words
from leyden.lesson.verdict import MIXED, REFUTED, SUPPORTED
from written_studies import write_study

LESSON = read_lesson()
BY_ID = {claim.id: claim for claim in LESSON.claims}
WRITTEN = ("lesson_capacity", "lesson_dropout", "lesson_weight_decay", "lesson_augmentation")


def write_preset(runs: Path, study: str, epochs: int = 12) -> Path:
    """Runs of a preset's settings, as they might have come out."""
    preset = yaml.safe_load((CONFIG_DIRECTORY / "study" / f"{study}.yaml").read_text(encoding="utf-8"))
    params = {
        key: [yaml.safe_load(one) for one in str(values).split(",")]
        for key, values in preset["hydra"]["sweeper"]["params"].items()
    }
    seeds = params.pop("seed")

    def accuracy(**levels: Any) -> float:
        found = {"backbone_dropout": lambda level: 0.8 + 0.1 * level, "backbone_width": lambda level: 0.9 + level / 1e4,
                 "augment": lambda level: 0.95 if level == "affine" else 0.9}  # fmt: skip
        return max((found[key](level) for key, level in levels.items() if key in found), default=0.9)

    return write_study(runs / "lesson" / study, params, accuracy, seeds=seeds, epochs=epochs)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs: Path = tmp_path_factory.mktemp("lesson") / "runs"
    for study in WRITTEN:
        write_preset(runs, study)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimizer_measurements, "NUM_REPEATS", 2)
        patch.setattr(network_measurements, "NUM_CASES", 5)
        for name in ("layers", "adam_memory", "backpropagation"):
            Evidence(runs / "lesson").measure(BY_ID[name])
    return runs


@pytest.fixture(scope="module")
def path(runs: Path) -> Path:
    page, untested = write(
        LESSON, LESSON.claims, runs, False, {"lesson_transfer": "the ELPV data set is not installed"}
    )
    assert {"nonlinearity", "transfer"} <= set(untested)
    assert not {"capacity", "dropout", "layers", "adam_memory"} & set(untested)
    return page


def judged(name: str, runs: Path) -> Any:
    return judge(BY_ID[name], Evidence(runs / "lesson"))


def test_verdicts_follow_from_the_runs(runs: Path) -> None:
    assert judged("layers", runs).verdict == SUPPORTED
    assert judged("augmentation", runs).verdict == SUPPORTED
    assert judged("capacity", runs).verdict != SUPPORTED  # accuracy rises with the width
    memory = judged("adam_memory", runs)
    assert memory.verdict == MIXED
    assert [effect["verdict"] for effect in memory.effects] == [SUPPORTED, REFUTED, REFUTED]
    assert any("Adam 2" in note for note in memory.notes)
    assert judged("dropout", runs).about == "30 runs on digits: 3 settings, 10 seeds"


def test_study_that_is_half_finished_has_no_verdict(runs: Path, tmp_path: Path) -> None:
    assert judged("transfer", runs).missing == "The runs of study=lesson_transfer have not begun."
    study = write_preset(tmp_path, "lesson_dropout")
    for record in sorted(study.glob("*/run.json"))[:7]:
        record.unlink()
    half = judge(BY_ID["dropout"], Evidence(tmp_path / "lesson"), "The disk is full.")
    assert half.verdict is None
    assert half.missing == "7 of 30 runs of study=lesson_dropout are not finished. The disk is full."
    assert len(half.effects) == 2  # what there is, is shown
    assert answer([half])[1] == "1 is not tested yet: leyden lesson goes on where it was stopped, and tests them."


def test_run_that_failed_is_told_and_holds_nothing_up(tmp_path: Path) -> None:
    study = write_preset(tmp_path, "lesson_dropout")
    path = min(study.glob("*/run.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "failed", "reason": "NaN"}), encoding="utf-8")
    found = judge(BY_ID["dropout"], Evidence(tmp_path / "lesson"))
    assert found.verdict is not None
    assert "1 more did not end with a number" in found.about


def test_study_of_which_all_runs_failed_says_why_it_has_no_verdict(tmp_path: Path) -> None:
    study = write_preset(tmp_path, "lesson_dropout")
    for path in study.glob("*/run.json"):
        failed = json.loads(path.read_text(encoding="utf-8")) | {"status": "failed", "reason": "NaN"}
        path.write_text(json.dumps(failed), encoding="utf-8")
    found = judge(BY_ID["dropout"], Evidence(tmp_path / "lesson"), "the loss became NaN")
    assert found.verdict is None
    few = "Fewer than two seeds have finished in all settings that are compared."
    assert found.missing == f"{few} The loss became NaN"
    unread = judge(BY_ID["dropout"], Evidence(tmp_path / "lesson")).missing
    assert unread is not None
    assert unread.startswith(f"{few} ")
    assert str(study) in unread


def test_settings_that_have_not_run_leave_no_empty_picture(tmp_path: Path) -> None:
    study = write_preset(tmp_path, "lesson_nonlinearity")
    claims = [claim for claim in LESSON.claims if claim.study == study.name and claim.pictures]
    whole = [judge(claim, Evidence(tmp_path / "lesson")).pictures for claim in claims]
    for name, job in json.loads((study / "study.json").read_text(encoding="utf-8"))["jobs"].items():
        if job["factors"]["backbone.activation"] != "identity":
            (study / name / "run.json").unlink()
    some = [judge(claim, Evidence(tmp_path / "lesson")).pictures for claim in claims]
    assert all(picture["lines"] for pictures in some for picture in pictures)
    assert 0 < sum(map(len, some)) < sum(map(len, whole))


@pytest.mark.parametrize(
    ("when", "verdicts", "fits"),
    [("+ -", (SUPPORTED, REFUTED), True), ("+ -?", (SUPPORTED, MIXED), True), ("* *", (MIXED, MIXED), True),
     ("+ -", (SUPPORTED, MIXED), False), ("-? *", (SUPPORTED, REFUTED), False)],
)  # fmt: skip
def test_notes_stand_where_the_numbers_are_so(when: str, verdicts: Any, fits: bool) -> None:
    claim = Claim("a", 1, "t", "s", "p", [], notes=[{"when": when, "says": "It is {size}."}])
    found = notes_of(claim, verdicts, {"values": {}, "figures": {"size": "2"}, "pictures": []})
    assert found == (["It is 2."] if fits else [])


def test_effects_are_told_in_points_or_units() -> None:
    of: Any = {"n": 5, "mean": -0.031, "low": -0.05, "high": -0.01}
    effect: Any = {"estimate": of, "is_share": True, "unit": "points"}
    assert effect_in_words(effect) == "−3.1 points, 95 % interval −5.0 to −1.0"
    effect = {"estimate": of | {"mean": 2.0, "low": 2.0, "high": 2.0}, "is_share": False, "unit": "values"}
    assert effect_in_words(effect) == "2.00 values, in all 5 repeats"
    effect = {"estimate": of | {"low": None, "high": None}, "is_share": False, "unit": ""}
    assert effect_in_words(effect) == "−0.0310"


def test_commands_repeat_what_was_done() -> None:
    assert command_of(BY_ID["dropout"]) == "leyden train -m study=lesson_dropout name=lesson logger=csv"
    assert command_of(BY_ID["layers"]) == "leyden lesson layers"
    assert "data=elpv" in command_of(BY_ID["transfer"])


def test_page_holds_every_claim_with_its_prediction_and_command(path: Path) -> None:
    html = path.read_text(encoding="utf-8")
    assert "http" not in re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    for claim in LESSON.claims:
        assert f'id="{claim.id}"' in html
        assert f'href="#{claim.id}"' in html
    assert "The ELPV data set is not installed" in html


@needs_browser
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_in_a_browser(size: str, scheme: Any, browser: Any, path: Path) -> None:
    context = browser.new_context(offline=True, viewport=SIZES[size], color_scheme=scheme)
    context.set_default_timeout(120_000)  # all charts at once, on a busy machine
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-drawn=yes]")
    assert said == []
    assert page.locator(".chart .main-svg").count() > 0
    assert page.locator("article.claim").count() == len(LESSON.claims)
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"]
    if size == "phone":
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
    context.close()
