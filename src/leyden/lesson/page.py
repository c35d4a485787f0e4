"""Judge > **page** > lesson.html: one file that needs no network, in the style and with the charts of the report.

The template is page.html.j2; page.css adds to the report's style, page.js draws with its charts.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from leyden.lesson.claims import Lesson
from leyden.lesson.judge import Judged
from leyden.lesson.model import Effect, Picture, Verdict
from leyden.lesson.verdict import MIXED, REFUTED, RULE, SUPPORTED
from leyden.pages import REPORT, STYLE, fill, for_script, plotly, sources
from leyden.report.model import Estimate
from leyden.report.words import date_in_words, value_in_words
from leyden.run import write_atomically

HERE = Path(__file__).parent
MISSING = "not tested yet"
MARKS: dict[Verdict | None, str] = {SUPPORTED: "✓", REFUTED: "✕", MIXED: "≈", None: "…"}


def write_page(lesson: Lesson, judged: Sequence[Judged], is_fast: bool, path: Path) -> None:
    """Writes the page as one HTML file, in one step."""
    write_atomically(path, to_html(lesson, judged, is_fast, datetime.now().astimezone().isoformat(timespec="minutes")))


def to_html(lesson: Lesson, judged: Sequence[Judged], is_fast: bool, created: str) -> str:
    """The page, with its style, its scripts, plotly.js and the numbers of its charts inside it."""
    pictures = [picture for one in judged for picture in one.pictures]
    numbers = iter(range(len(pictures)))
    chapters = [
        (number, title, [(one, [(next(numbers), picture) for picture in one.pictures])
                         for one in judged if one.claim.chapter == number])
        for number, title in lesson.chapters.items()
    ]  # fmt: skip
    return fill(
        HERE / "page.html.j2",
        chapters=chapters,
        answer=answer(judged),
        rule=RULE,
        chance=chance(judged),
        is_fast=is_fast,
        created=created,
        date=date_in_words(created),
        slug=lambda verdict: (verdict or MISSING).replace(" ", "-"),
        name=lambda verdict: verdict or MISSING,
        mark=lambda verdict: MARKS[verdict],
        told=effect_in_words,
        described=picture_in_words,
        numbers=for_script({"pictures": pictures}),
        css=sources(STYLE, HERE / "page.css"),
        plotly=plotly(),
        scripts=[sources(REPORT / "charts.js"), sources(HERE / "page.js")],
    )


def answer(judged: Sequence[Judged]) -> list[str]:
    """The whole in two sentences: how many claims stand how, and what is still to be run."""
    counts = Counter(one.verdict for one in judged)
    told = [f"{_are(counts[verdict])} {verdict}" for verdict in (SUPPORTED, MIXED, REFUTED)]
    sentences = [f"Of {len(judged)} claims, {told[0]}, {told[1]} and {told[2]}."]
    if counts[None]:
        left = f"{_are(counts[None])} not tested yet"
        sentences.append(f"{left}: leyden lesson goes on where it was stopped, and tests them.")
    return sentences


def _are(number: int) -> str:
    """`1 is`, `2 are`."""
    return f"{number} {'is' if number == 1 else 'are'}"


def chance(judged: Sequence[Judged]) -> str:
    """How many contrasts would seem to be told if nothing were so."""
    number = sum(len(one.effects) for one in judged if one.verdict)
    return (
        f"{number} contrasts are looked at; of effects that lie at their bound exactly, one in forty would be called "
        "supported by chance, and one in forty not supported."
    )


def effect_in_words(effect: Effect) -> str:
    """`3.1 points, 95 % interval 0.4 to 5.8`."""
    of: Estimate = effect["estimate"]
    told = f"{_value(effect, of['mean'])} {effect['unit']}".rstrip()
    if of["low"] is None or of["high"] is None:
        return told
    if of["low"] == of["high"]:
        return f"{told}, in all {of['n']} repeats"
    return f"{told}, 95 % interval {_value(effect, of['low'])} to {_value(effect, of['high'])}"


def _value(effect: Effect, value: float) -> str:
    if not effect["is_share"]:
        return value_in_words(value, False)
    text = f"{abs(100 * value):.1f}"
    return f"−{text}" if value < 0 and text != "0.0" else text


def picture_in_words(picture: Picture) -> str:
    """What a picture shows, for those who do not see it: each line's first and last value."""

    def told(value: float | None) -> str:
        return "nothing" if value is None else value_in_words(value, picture["is_share"])

    lines: list[str] = []
    for line in picture["lines"]:
        ends: list[Any] = [*zip(line["xs"], line["means"], strict=True)]
        shown = ends if isinstance(line["xs"][0], str) else [ends[0], ends[-1]]
        lines.append(f"{line['name']} ".lstrip() + ", ".join(f"{x}: {told(mean)}" for x, mean in shown))
    return f"{picture['title']}. {'; '.join(lines)}."
