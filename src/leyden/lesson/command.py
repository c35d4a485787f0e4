"""Command line > **lesson** > studies: runs what is missing of the lesson, then writes its page."""

import argparse
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from leyden.errors import explain
from leyden.lesson.claims import Claim, Lesson, choose, read_lesson
from leyden.lesson.judge import NAME, Evidence, judge, words_of
from leyden.signals import Signals
from leyden.study.job import quoted
from leyden.study.record import OtherStudy

FAST_SEEDS = "seed=0,1,2"
PAGE = "lesson.html"

RunStudy = Callable[[Sequence[str]], None]  # `leyden train` with such words


def teach(asked: argparse.Namespace, run_study: RunStudy, signals: Signals) -> None:
    """Runs and measures what is missing of the claims that are asked for, and writes the page, also when interrupted.

    Raises:
        ValueError: there is no claim of a name, or some could not be tested; the page says which.
    """
    lesson = read_lesson()
    chosen = choose(lesson, asked.claims, asked.fast)
    reasons: dict[str, str] = {}
    foreign: set[str] = set()
    try:
        _run(chosen, asked, run_study, signals, reasons, foreign)
    finally:
        page, untested = write(lesson, chosen, asked.runs, asked.fast, reasons, foreign)
        print(f"lesson     {os.path.relpath(page)}")
    if untested:
        raise ValueError(
            f"{len(untested)} of {len(chosen)} claims are not tested: {', '.join(untested)}; {page} says why"
        )


def write(
    lesson: Lesson, chosen: Sequence[Claim], runs: Path, is_fast: bool, reasons: Mapping[str, str],
    foreign: Collection[str] = (),
) -> tuple[Path, list[str]]:  # fmt: skip
    """Writes the page of what is there; returns its path, and which of the chosen claims have no verdict.

    `foreign` are studies whose runs there do not count.
    """
    from leyden.lesson.page import write_page

    evidence = Evidence(runs / NAME, foreign)
    judged = [judge(claim, evidence, reasons.get(claim.study) or reasons.get(claim.id)) for claim in lesson.claims]
    path = runs / NAME / PAGE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_page(lesson, judged, is_fast, path)
    wanted = {claim.id for claim in chosen}
    return path, [one.claim.id for one in judged if one.verdict is None and one.claim.id in wanted]


def _run(
    chosen: Sequence[Claim],
    asked: argparse.Namespace,
    run_study: RunStudy,
    signals: Signals,
    reasons: dict[str, str],
    foreign: set[str],
) -> None:
    """Runs each study once, then makes the measurements; what cannot be run keeps nothing else back."""
    studies = {claim.study: claim for claim in chosen if claim.study}
    for number, (study, claim) in enumerate(studies.items()):
        print(f"\nstudy {number + 1} of {len(studies)}, {study}", flush=True)
        words = [*words_of(claim), f"runs_dir={quoted(asked.runs)}", *([FAST_SEEDS] if asked.fast else [])]
        try:
            run_study(words)
        except Exception as error:
            reasons[study] = explain(error, words)
            if isinstance(error, OtherStudy):
                foreign.add(study)
                reasons[study] = f"{reasons[study].partition(': give ')[0]}: move it away, or give another --runs"
            print(f"{study}: {reasons[study]}", flush=True)
    evidence = Evidence(asked.runs / NAME)
    for claim in chosen:
        if claim.measure:
            print(f"measuring  {claim.id}", flush=True)
            try:
                with signals.at_once():
                    evidence.measure(claim)
            except Exception as error:
                reasons[claim.id] = explain(error)
                print(f"{claim.id}: {reasons[claim.id]}", flush=True)
