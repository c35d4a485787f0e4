"""Claims, what was measured > **judge** > page: of each claim its effects, its verdict, and what is still missing."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leyden.lesson.claims import Claim, Contrast
from leyden.lesson.measurements import OF_RUNS, measure, read_measured
from leyden.lesson.model import Effect, Measured, Picture, Verdict
from leyden.lesson.study_effects import effect_of, fitting, is_difference_of_shares, picture_of
from leyden.lesson.verdict import MIXED, REFUTED, SUPPORTED, verdict_of_claim, verdict_of_effect
from leyden.report.collect import Collection, Found, collect
from leyden.report.model import Estimate, Setting
from leyden.report.settings import fold_seeds
from leyden.report.statistics import estimate
from leyden.report.words import many
from leyden.run import DONE, is_study
from leyden.study.record import rows_of

NAME = "lesson"  # of the runs: below <runs>/lesson/<study>
MARKS: Mapping[str, Verdict] = {"+": SUPPORTED, "-": REFUTED, "?": MIXED}


@dataclass
class Judged:
    """A claim with what is known of it."""

    claim: Claim
    command: str
    effects: list[Effect] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    verdict: Verdict | None = None
    notes: list[str] = field(default_factory=list)
    missing: str | None = None  # why there is no verdict
    about: str = ""  # runs and seeds that it rests on


class Evidence:
    """What lies in <runs>/lesson: studies, each read once, and measurements."""

    def __init__(self, place: Path, foreign: Iterable[str] = ()) -> None:
        self.place = place
        self.why: dict[str, str] = {}  # the runs of a study cannot be taken together
        self.foreign = frozenset(foreign)  # studies that lie there, which are not the ones that were asked for
        self._read: dict[str, tuple[Collection, list[Setting]] | None] = {}

    def study(self, name: str) -> tuple[Collection, list[Setting]] | None:
        """The runs of a study and its settings, the best by validation first; None where no run has finished."""
        if name not in self._read:
            self._read[name] = self._collect(name)
        return self._read[name]

    def _collect(self, name: str) -> tuple[Collection, list[Setting]] | None:
        if name in self.foreign or not is_study(self.place / name):
            return None
        try:
            collection = collect([self.place / name])
        except ValueError as error:
            self.why[name] = str(error)
            return None
        return collection, fold_seeds(collection)

    def missing(self, name: str) -> str | None:
        """What of a study is yet to be run, in words; a run that has failed is not."""
        if not is_study(self.place / name):
            return f"The runs of study={name} have not begun."
        if name in self.foreign:
            return f"The runs of study={name} that lie there are others than were asked for."
        rows = rows_of(self.place / name)[2]
        left = [row for row in rows if row.status not in (*DONE, "failed")]
        return f"{len(left)} of {len(rows)} runs of study={name} are not finished." if left else None

    def _runs_with_relu(self, name: str) -> list[Found]:
        """The runs of a study that a measurement of trained networks looks at."""
        found = self.study(name)
        if found is None:
            return []
        collection, settings = found
        chosen = fitting({"backbone.activation": "relu"}, settings)
        return [collection.by_id[name] for setting in chosen for name in setting["runs"]]

    def measure(self, claim: Claim) -> None:
        """Makes a claim's measurement, where it is not kept and there is something to measure."""
        runs = self._runs_with_relu(claim.study) if claim.measure in OF_RUNS else []
        if runs or claim.measure not in OF_RUNS:
            measure(claim.measure, self.place / "measured", runs)

    def measured(self, claim: Claim) -> Measured | None:
        """What is kept of a claim's measurement."""
        kept = read_measured(self.place / "measured" / f"{claim.measure}.json")
        return None if kept is None else kept["measured"]


def judge(claim: Claim, evidence: Evidence, reason: str | None = None) -> Judged:
    """What is known of a claim; `reason` says why its study could not be run, or it not be measured."""
    judged = Judged(claim, command_of(claim))
    found = evidence.study(claim.study) if claim.study else None
    measured = evidence.measured(claim) if claim.measure else None
    for contrast in claim.contrasts:
        of = _estimate(contrast, found, measured)
        if of is not None:
            judged.effects.append(_effect(contrast, of))
    pictures = [picture_of(asked, *found) for asked in claim.pictures] if found else []
    judged.pictures = [picture for picture in pictures if picture["lines"]]  # none of settings that have not run
    judged.pictures += measured["pictures"] if measured else []
    verdicts = [effect["verdict"] for effect in judged.effects]
    judged.missing = _missing(claim, evidence, measured, verdicts, reason)
    if judged.missing is None:
        judged.verdict = verdict_of_claim(verdicts)
        judged.notes = notes_of(claim, verdicts, measured)
        judged.about = _about(found)
    return judged


def _missing(
    claim: Claim,
    evidence: Evidence,
    measured: Measured | None,
    verdicts: Sequence[Verdict | None],
    reason: str | None,
) -> str | None:
    """Why there is no verdict, in words; None where there is one."""
    told = evidence.missing(claim.study) if claim.study else None
    if told is None:
        reason = reason or evidence.why.get(claim.study)
        if claim.measure and measured is None:
            told = "It has not been measured."
        elif len(verdicts) < len(claim.contrasts) or None in verdicts:
            told = "Fewer than two seeds have finished in all settings that are compared."
    return f"{told} {reason[:1].upper()}{reason[1:]}" if told and reason else told


def notes_of(claim: Claim, verdicts: Sequence[Verdict | None], measured: Measured | None) -> list[str]:
    """What the page adds where the numbers are so: notes whose pattern fits the verdicts of the contrasts.

    A pattern has a word for each contrast: of the marks + (supported), - (not supported here) and ? (mixed) those that
    fit, or * for any.
    """
    figures = measured["figures"] if measured else {}
    return [
        note["says"].format(**figures)
        for note in claim.notes
        if all(
            mark == "*" or any(MARKS[sign] == verdict for sign in mark)
            for mark, verdict in zip(note["when"].split(), verdicts, strict=True)
        )
    ]


def words_of(claim: Claim) -> list[str]:
    """The words of a claim's study on the command line, but for its place."""
    return ["-m", f"study={claim.study}", *claim.words, f"name={NAME}", "logger=csv"]


def command_of(claim: Claim) -> str:
    """What repeats it."""
    if claim.study and not claim.measure:
        return shlex.join(["leyden", "train", *words_of(claim)])
    return f"leyden lesson {claim.id}"


def _estimate(
    contrast: Contrast, found: tuple[Collection, list[Setting]] | None, measured: Measured | None
) -> Estimate | None:
    if not contrast.measured:
        return None if found is None else effect_of(contrast, *found)
    values = measured["values"].get(contrast.measured) if measured else None
    return estimate(values) if values else None


def _effect(contrast: Contrast, of: Estimate) -> Effect:
    is_share = contrast.is_share or is_difference_of_shares(contrast)
    unit = contrast.unit or ("" if not is_share else "points" if contrast.of else "%")
    bound = f"{100 * contrast.bound:g} {unit}" if is_share else f"{contrast.bound:g}"
    bound = re.sub("^-", "−", re.sub("e-0?", "e−", bound))
    return {
        "name": contrast.name, "estimate": of, "is_share": is_share, "unit": unit,
        "predicted": f"{contrast.side} {bound}", "verdict": verdict_of_effect(of, contrast.side, contrast.bound),
    }  # fmt: skip


def _about(found: tuple[Collection, list[Setting]] | None) -> str:
    if found is None:
        return ""
    collection, settings = found
    data: Any = collection.finished[0].record.get("data", {}).get("name", "data")
    seeds = len({run.repeat for run in collection.finished})
    failed = sum(run.status != "finished" for run in collection.runs)
    told = f"{len(collection.finished)} runs on {data}: {many(len(settings), 'setting')}, {many(seeds, 'seed')}"
    return f"{told}; {failed} more did not end with a number" if failed else told
