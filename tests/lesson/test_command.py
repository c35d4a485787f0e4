"""`leyden lesson` from its words to its page: with real runs, small ones."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from leyden import command_line
from leyden.errors import Interrupted
from leyden.lesson import command
from leyden.lesson.arguments import parse
from leyden.lesson.claims import Claim
from leyden.lesson.command import teach
from leyden.lesson.judge import Evidence
from leyden.signals import Signals
from leyden.study.record import OtherStudy
from written_studies import write_study

SMALL = ["backbone.width=8", "epochs=2", "trainer=cpu", "jobs=1", "backbone.activation=identity,relu", "seed=0,1"]


def asked(tmp_path: Path, *words: str) -> Any:
    return parse([*words, "--runs", str(tmp_path / "runs")])


@pytest.mark.whole
def test_lesson_runs_what_is_missing_and_writes_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words_of = command.words_of
    monkeypatch.setattr(command, "words_of", lambda claim: [*words_of(claim), *SMALL])
    monkeypatch.setattr(command, "FAST_SEEDS", "seed=0,1")
    assert command_line.lesson(["features", "layers", "--fast", "--runs", "runs"]) == 0
    out = capfd.readouterr().out
    assert "to run     4" in out
    assert "lesson     runs/lesson/lesson.html" in out
    html = (tmp_path / "runs" / "lesson" / "lesson.html").read_text(encoding="utf-8")
    assert "with <code>--fast</code>" in html
    told = re.findall(r'<p class="(?:caption|missing)">(.*?)</p>', html)
    assert "4 runs on digits: 2 settings, 2 seeds" in told, told
    measured = Evidence(tmp_path / "runs" / "lesson").measured(
        next(claim for claim in command.read_lesson().claims if claim.id == "features")
    )
    assert measured is not None
    assert len(measured["values"]["gain 1"]) == 2
    assert measured["pictures"][0]["lines"][0]["xs"] == ["pixels", "hidden layer 1", "hidden layer 2"]
    assert command_line.lesson(["features", "layers", "--fast", "--runs", "runs"]) == 0
    assert "to run     0" in capfd.readouterr().out


def test_study_that_cannot_be_run_keeps_no_other_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran: list[str] = []

    def run_study(words: Sequence[str]) -> None:
        ran.append(words[1])
        raise ValueError("the data are not there")

    with pytest.raises(
        ValueError, match=r"2 of 3 claims are not tested: learning_rate, dropout; .*lesson\.html says why"
    ):
        teach(asked(tmp_path, "dropout", "layers", "learning_rate"), run_study, Signals())
    assert ran == ["study=lesson_optimizers", "study=lesson_dropout"]
    html = (tmp_path / "runs" / "lesson" / "lesson.html").read_text(encoding="utf-8")
    assert "have not begun. The data are not there" in html
    assert "study 2 of 2, lesson_dropout" in capsys.readouterr().out


def test_runs_of_another_lesson_give_no_verdict(tmp_path: Path) -> None:
    """As those of an older version, or of --fast, in whose place nothing could be run."""
    place = tmp_path / "runs" / "lesson" / "lesson_optimizers"
    study = write_study(place, {"optimizer": ["SGD", "Adam"]}, lambda optimizer: 0.9)

    def run_study(words: Sequence[str]) -> None:
        raise OtherStudy(f"{study} was written by other code: give study=<another name>, or mixed=true")

    with pytest.raises(ValueError, match="1 of 1 claims are not tested: learning_rate"):
        teach(asked(tmp_path, "learning_rate"), run_study, Signals())
    html = (tmp_path / "runs" / "lesson" / "lesson.html").read_text(encoding="utf-8")
    assert "that lie there are others than were asked for." in html
    assert f"{study} was written by other code: move it away, or give another --runs" in html


def test_measurement_that_fails_keeps_no_other_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []

    def measure(evidence: Evidence, claim: Claim) -> None:
        measured.append(claim.id)
        raise ValueError("its checkpoint is gone")

    monkeypatch.setattr(Evidence, "measure", measure)
    with pytest.raises(ValueError, match="2 of 2 claims are not tested"):
        teach(asked(tmp_path, "layers", "adam_memory"), lambda words: None, Signals())
    assert measured == ["layers", "adam_memory"]
    html = (tmp_path / "runs" / "lesson" / "lesson.html").read_text(encoding="utf-8")
    assert html.count("It has not been measured. Its checkpoint is gone") == 2


def test_directory_of_runs_may_have_a_comma_in_its_name(tmp_path: Path) -> None:
    ran: list[Sequence[str]] = []
    with pytest.raises(ValueError, match="are not tested"):
        teach(parse(["dropout", "--runs", str(tmp_path / "a,b")]), ran.append, Signals())
    (word,) = (word for word in ran[0] if word.startswith("runs_dir="))
    (parsed,) = OverridesParser.create().parse_overrides([word])
    assert not parsed.is_sweep_override()
    assert parsed.value() == str(tmp_path / "a,b")


def test_interrupted_lesson_writes_what_there_is(tmp_path: Path) -> None:
    def run_study(words: Sequence[str]) -> None:
        raise Interrupted(2)

    with pytest.raises(Interrupted):
        teach(asked(tmp_path, "dropout"), run_study, Signals())
    assert "have not begun" in (tmp_path / "runs" / "lesson" / "lesson.html").read_text(encoding="utf-8")


def test_each_study_is_run_once_with_the_seeds_that_fast_has(tmp_path: Path) -> None:
    ran: list[Sequence[str]] = []
    with pytest.raises(ValueError, match="are not tested"):
        teach(asked(tmp_path, "capacity", "labels", "curves", "--fast"), ran.append, Signals())
    assert [words[1] for words in ran] == ["study=lesson_capacity", "study=lesson_labels"]
    assert all("seed=0,1,2" in words for words in ran)


def test_unknown_claim_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command_line.lesson(["capasity", "--runs", str(tmp_path)]) == 1
    assert "there is no claim 'capasity': did you mean 'capacity'?" in capfd.readouterr().err
