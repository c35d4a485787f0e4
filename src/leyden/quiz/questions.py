"""chapters/*.yaml > **questions** > quiz: what is asked, what is right, and what each wrong answer has overlooked."""

import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

DIRECTORY = Path(__file__).parent / "chapters"
EXACT = 1e-6  # relative; of answers that are whole numbers or few digits
LETTERS = "abcdefgh"


class Option(NamedTuple):
    """An answer to choose; `says` is what a wrong one has overlooked."""

    text: str
    right: bool = False
    says: str = ""


class Mistake(NamedTuple):
    """A number that one comes to by a slip, and which."""

    answer: float
    says: str


class Reply(NamedTuple):
    """What becomes of an answer; what is said of a wrong one does not give the right one away."""

    is_right: bool
    says: str


@dataclass(frozen=True)
class Question:
    """One question: with options, or with a number that `key` works out; `run` says how one can find it by running."""

    id: str
    asks: str
    options: Sequence[Option] = ()
    key: str = ""
    run: str = ""
    tolerance: float = EXACT  # relative
    says: str = ""
    mistakes: Sequence[Mistake] = ()

    def answer(self) -> str:
        """What is right: the letter and text of an option, or the number."""
        if self.options:
            place = next(place for place, option in enumerate(self.options) if option.right)
            return f"{LETTERS[place]}) {self.options[place].text}"
        return f"{self.number():.6g}"

    def number(self) -> float:
        """The right number, worked out."""
        from leyden.quiz.keys import KEYS

        return KEYS[self.key]()

    def reply(self, said: str) -> Reply:
        """What becomes of an answer, as it was typed.

        Raises:
            ValueError: it is neither a letter of an option nor a number, whichever is asked for.
        """
        if self.options:
            return self._reply_to_letter(said.strip().lower().rstrip(")."))
        try:
            typed = said.strip().removesuffix("%").strip().replace("−", "-")
            is_read = "," not in typed or re.fullmatch(r"-?[1-9]\d{0,2}(,\d{3})+(\.\d+)?", typed)
            value = float(typed.replace(",", "")) if is_read else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(f"{said.strip()}: expected a number, as 0.25 or 1,000")
        number, is_percentage = self.number(), said.strip().endswith("%")
        if self._is_near(value, number) or (is_percentage and self._is_near(value / 100, number)):
            return Reply(True, self.says)
        mistake = next((one for one in self.mistakes if self._is_near(value, one.answer)), None)
        return Reply(False, mistake.says if mistake else "Find it as it is said above.")

    def _reply_to_letter(self, letter: str) -> Reply:
        letters = LETTERS[: len(self.options)]
        if len(letter) != 1 or letter not in letters:
            raise ValueError(f"{letter}: expected one of {', '.join(letters)}")
        chosen = self.options[letters.index(letter)]
        return Reply(chosen.right, chosen.says)

    def _is_near(self, value: float, number: float) -> bool:
        return math.isclose(value, number, rel_tol=self.tolerance, abs_tol=EXACT)


@dataclass(frozen=True)
class Chapter:
    """A chapter of the course and its questions."""

    number: int
    title: str
    questions: Sequence[Question]


def read_chapters(directory: Path = DIRECTORY) -> list[Chapter]:
    """All chapters in their order."""
    paths = sorted(directory.glob("*.yaml"), key=lambda path: int(path.stem))
    contents = [(int(path.stem), yaml.safe_load(path.read_text(encoding="utf-8"))) for path in paths]
    return [
        Chapter(
            number, content["title"], [_question(f"{number}.{name}", one) for name, one in content["questions"].items()]
        )
        for number, content in contents
    ]


def chapter_of(number: int) -> Chapter:
    """One chapter.

    Raises:
        ValueError: there is none of that number.
    """
    chapters = {chapter.number: chapter for chapter in read_chapters()}
    if number not in chapters:
        raise ValueError(f"there is no chapter {number}: expected one of {', '.join(map(str, chapters))}")
    return chapters[number]


def _question(identity: str, content: Mapping[str, Any]) -> Question:
    options = [Option(**one) for one in content.get("options", ())]
    random.Random(identity).shuffle(options)  # the same in every session, and right ones in all places
    mistakes = [Mistake(float(one["answer"]), one["says"]) for one in content.get("mistakes", ())]
    return Question(**{**content, "id": identity, "options": options, "mistakes": mistakes})
