"""Questions have one right answer, and every wrong one is explained."""

import ast
import re
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from leyden.quiz.keys import KEYS
from leyden.quiz.questions import LETTERS, Question, chapter_of, read_chapters

CHAPTERS = read_chapters()
QUESTIONS = [question for chapter in CHAPTERS for question in chapter.questions]
WITH_KEYS = [question for question in QUESTIONS if question.key]
WITH_OPTIONS = [question for question in QUESTIONS if question.options]


def named(question: Question) -> str:
    return question.id


def is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def test_there_are_forty_questions_over_six_chapters_half_of_them_answered_by_running() -> None:
    assert [chapter.number for chapter in CHAPTERS] == [1, 2, 3, 4, 5, 6]
    assert all(len(chapter.questions) >= 6 for chapter in CHAPTERS)
    assert len(QUESTIONS) >= 40
    assert len(WITH_KEYS) >= len(QUESTIONS) / 2
    assert len({question.id for question in QUESTIONS}) == len(QUESTIONS)
    assert len(WITH_KEYS) + len(WITH_OPTIONS) == len(QUESTIONS)


@pytest.mark.parametrize("question", WITH_OPTIONS, ids=named)
def test_one_option_is_right_and_each_wrong_one_is_explained(question: Question) -> None:
    assert sum(option.right for option in question.options) == 1
    assert all(option.right or option.says for option in question.options)
    assert len({option.text for option in question.options}) == len(question.options) >= 3
    replies = [question.reply(letter) for letter in LETTERS[: len(question.options)]]
    assert sum(reply.is_right for reply in replies) == 1
    assert question.reply(f" {question.answer()[0].upper()}) ").is_right


@pytest.mark.parametrize("question", WITH_KEYS, ids=named)
def test_key_runs_and_no_slip_is_taken_for_it(question: Question) -> None:
    assert question.run
    assert question.says
    assert question.mistakes
    assert question.reply(question.answer()).is_right
    for mistake in question.mistakes:
        reply = question.reply(str(mistake.answer))
        assert not reply.is_right
        assert reply.says == mistake.says
    unforeseen = question.reply("-123456")
    assert not unforeseen.is_right
    assert question.says not in unforeseen.says


@pytest.mark.parametrize("question", [question for question in WITH_KEYS if is_python(question.run)], ids=named)
def test_python_that_finds_an_answer_finds_it(question: Question) -> None:
    *before, last = ast.parse(question.run).body
    names: dict[str, Any] = {"numpy": numpy, "torch": torch}
    exec(compile(ast.Module(before, []), question.id, "exec"), names)
    assert isinstance(last, ast.Expr)
    found = eval(compile(ast.Expression(last.value), question.id, "eval"), names)
    assert question.reply(f"{float(numpy.ravel(found)[0]):.9f}").is_right


def test_right_options_stand_in_all_places() -> None:
    places = [question.answer()[0] for question in WITH_OPTIONS]
    assert set(places) == set("abcd")
    assert max(map(places.count, "abcd")) <= len(places) / 2


def test_every_key_is_asked_for() -> None:
    assert {question.key for question in WITH_KEYS} == set(KEYS)


def test_numbers_are_read_as_people_write_them() -> None:
    memory = next(question for question in QUESTIONS if question.id == "3.memory")
    assert memory.reply("17,940").is_right
    slope = next(question for question in QUESTIONS if question.id == "2.slope")
    assert slope.reply("−0.335").is_right
    for said in ("many", "nan", ""):
        with pytest.raises(ValueError, match="expected a number"):
            memory.reply(said)
    with pytest.raises(ValueError, match=re.escape("z: expected one of a, b, c, d")):
        WITH_OPTIONS[0].reply("z")


def test_commands_named_in_questions_exist() -> None:
    from leyden.__main__ import COMMANDS

    for path in (Path(__file__).parents[2] / "src" / "leyden" / "quiz" / "chapters").glob("*.yaml"):
        for command in re.findall(r"leyden (\w+)", path.read_text(encoding="utf-8")):
            assert command in COMMANDS, (path.name, command)


def test_chapter_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="there is no chapter 7: expected one of 1, 2, 3, 4, 5, 6"):
        chapter_of(7)
