"""Command line > **quiz** > questions: asks them in the terminal, and keeps which have been answered."""

import argparse
import json
import shutil
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from leyden.errors import Interrupted
from leyden.quiz.listing import Listing, as_text
from leyden.quiz.questions import Chapter, Question, chapter_of, read_chapters
from leyden.run import write_atomically
from leyden.signals import Signals

PROGRESS = Path("runs") / "quiz.json"  # beside the runs that answers come from
HOW = "Answer with a letter or a number; Enter alone passes over, Ctrl-D ends. Python begins with: import numpy, torch"
TRIES = 2  # before the answer is told

Ask = Callable[[str], str]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads `leyden quiz …`; ends the program where it cannot be read."""
    parser = argparse.ArgumentParser(
        prog="leyden quiz",
        description="Questions of the course, half of them answered by running something. What has been answered "
        f"rightly is kept in {PROGRESS} and not asked again: delete it to begin anew. Enter alone passes over a "
        "question, Ctrl-D or Ctrl-C ends.",
    )
    parser.add_argument("chapter", nargs="?", type=int, help="1 to 6 (default: all)")
    parser.add_argument("--list", action="store_true", help="list the questions, and what has been answered")
    return parser.parse_args(arguments)


def take(asked: argparse.Namespace, signals: Signals, ask: Ask = input, path: Path = PROGRESS) -> None:
    """Asks what has not been answered yet, or lists all; Ctrl-C ends it as Ctrl-D does.

    Raises:
        ValueError: there is no chapter of that number, or the file of what was answered is damaged.
    """
    chapters = read_chapters() if asked.chapter is None else [chapter_of(asked.chapter)]
    answered = read_progress(path)
    if asked.list:
        for chapter in chapters:
            print(f"{_wrapped(str(Listing(chapter)))}\n")
    else:
        try:
            with signals.at_once():
                _ask_all(chapters, answered, ask, path)
        except Interrupted:
            print()  # Ctrl-C leaves the cursor behind what was typed
    for chapter in chapters:
        right = sum(answered.get(question.id, False) for question in chapter.questions)
        print(f"{chapter.number}. {chapter.title}: {right} of {len(chapter.questions)} answered rightly")


def read_progress(path: Path) -> dict[str, bool]:
    """Which questions have been answered rightly, by their id.

    Raises:
        ValueError: the file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): delete it to begin anew") from error
    if not isinstance(kept, dict):
        raise ValueError(f"{path} holds no answers: delete it to begin anew")
    return {str(key): value is True for key, value in kept.items()}


def _ask_all(chapters: Sequence[Chapter], answered: dict[str, bool], ask: Ask, path: Path) -> None:
    if not all(answered.get(question.id) for chapter in chapters for question in chapter.questions):
        print(_wrapped(HOW))
    for chapter in chapters:
        left = [question for question in chapter.questions if not answered.get(question.id)]
        for place, question in enumerate(left, 1):
            print(f"\n{chapter.title}, {place} of {len(left)}\n{_wrapped(as_text(question))}")
            try:
                is_right = _ask_one(question, ask)
            except EOFError:
                print()
                return
            answered[question.id] = is_right
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(answered, indent=1) + "\n")


def _wrapped(text: str) -> str:
    """As wide as the terminal, but for lines that are to be copied."""
    width = shutil.get_terminal_size().columns
    return "\n".join(
        line if "find it by:" in line else textwrap.fill(line, width, subsequent_indent="      " * line.startswith(" "))
        for line in text.splitlines()
    )


def _ask_one(question: Question, ask: Ask) -> bool:
    """Whether it was answered rightly, at the second try too; after that, or when passed over, the answer is told."""
    tries = 0
    while tries < TRIES:
        said = ask("> ")
        if not said.strip():
            break
        try:
            reply = question.reply(said)
        except ValueError as error:
            print(error)
            continue
        print(_wrapped(f"{'Right.' if reply.is_right else 'No.'} {reply.says}".rstrip()))
        if reply.is_right:
            return True
        tries += 1
    print(_wrapped(f"Right is: {question.answer()}\n{question.says}".rstrip()))
    return False
