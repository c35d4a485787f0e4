"""The quiz in a terminal and in a notebook."""

import argparse
import json
from pathlib import Path

import pytest

from leyden import command_line
from leyden.errors import Interrupted
from leyden.quiz import show
from leyden.quiz.command import parse, read_progress, take
from leyden.quiz.questions import chapter_of
from leyden.signals import Signals


def run(path: Path, *lines: str, chapter: int = 1) -> None:
    typed = iter(lines)

    def ask(prompt: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    take(argparse.Namespace(chapter=chapter, list=False), Signals(), ask, path)


def test_wrong_answers_are_explained_and_right_ones_are_not_asked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runs" / "quiz.json"
    run(path, "8832", "many", "8970", "5", "0", "")
    said = capsys.readouterr().out
    assert "No. Those are the weights alone" in said
    assert "many: expected a number" in said
    assert said.index("No. Find it as it is said above.") < said.index("The products add up to")
    assert "Right is: 0.5\nThe products add up to" in said  # after two tries
    assert "Right is: 7" in said  # passed over
    assert "1 of 7 answered rightly" in said
    assert read_progress(path) == {"1.width": True, "1.node": False, "1.field": False}
    run(path)
    said = capsys.readouterr().out
    assert "backbone.width=64" not in said
    assert "1 of 6" in said


def test_every_question_can_be_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for chapter in (1, 6):
        right = [question.answer().partition(")")[0] for question in chapter_of(chapter).questions]
        run(tmp_path / "quiz.json", *right, chapter=chapter)
        assert f"{len(right)} of {len(right)} answered" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["{", "[]"])
def test_damaged_progress_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "quiz.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"quiz\.json .*delete it to begin anew"):
        read_progress(path)


def test_list_tells_questions_and_no_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "quiz.json").write_text(json.dumps({"3.memory": True}), encoding="utf-8")
    assert command_line.quiz(["3", "--list"]) == 0
    said = capfd.readouterr().out
    assert "17,940" not in said
    assert "17940" not in said
    assert "Optimizers: 1 of 9 answered" in said
    assert command_line.quiz(["9"]) == 1
    assert "there is no chapter 9" in capfd.readouterr().err
    assert parse([]).chapter is None


def test_notebook_shows_questions_with_answers_folded() -> None:
    listing = show(3)
    html = listing._repr_html_()
    before, folded = html.split("<details>", 1)
    assert "17940" in folded
    assert "17940" not in before
    assert html.count("<details>") == html.count("</details>") == 9
    assert "which RMSprop mends" in html
    assert "Optimizers" in repr(listing)
    assert "<b>" not in repr(listing)


def test_what_is_asked_and_said_is_no_wider_than_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    run(tmp_path / "quiz.json", "8832", "8832", *["7"] * 6, "a", "b")
    said = capsys.readouterr().out
    assert said.startswith("Answer with a letter or a number;")
    assert max(len(line) for line in said.splitlines() if "find it by" not in line) <= 60


def test_ctrl_c_ends_the_quiz_with_what_was_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = iter(["8970"])

    def ask(prompt: str) -> str:
        for answer in typed:
            return answer
        raise Interrupted(2)

    take(argparse.Namespace(chapter=1, list=False), Signals(), ask, tmp_path / "quiz.json")
    assert "\n1. Artificial neural networks: 1 of 7 answered" in capsys.readouterr().out
    assert read_progress(tmp_path / "quiz.json") == {"1.width": True}
