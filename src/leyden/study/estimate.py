"""Plan > **what it will take** > loop: how many runs, of which factors, how large and how long, before any begins."""

import math
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf
from pytorch_lightning import Callback

from leyden.config import leaves
from leyden.errors import explain, shown
from leyden.run import DONE, num_cores
from leyden.study.display import duration
from leyden.study.job import Job, begin_apart, environment_of_a_job, in_words, write_to
from leyden.study.plan import Composer, Plan
from leyden.study.record import Row

MOST_LEVELS_SHOWN = 8
TIMED_STEPS, WARM_UP_STEPS = 10, 3


class Size(NamedTuple):
    """How large a run is."""

    parameters: int
    steps: int
    seconds_per_step: float


class _Stopwatch(Callback):
    """Notes when each step has ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.times.append(time.perf_counter())


def describe_plan(directory: Path, plan: Plan, rows: Mapping[str, Row], at_once: int, on_error: str) -> str:
    """The plan in a few lines: runs and factors, what is done, how long the rest takes where that is known."""
    counts = Counter(row.status for row in rows.values())
    factors = [f"{key} ({_levels(levels)})" for key, levels in plan.factors.items()]
    lines = [f"study      {shown(directory)}", f"runs       {len(plan.jobs)}: {' × '.join(factors)}"]
    lines += [f"           {duplicate}: it runs once" for duplicate in plan.duplicates]
    done = sum(counts[status] for status in DONE)
    if done:
        lines.append(f"finished   {done}, which are not run again")
    if counts["interrupted"]:
        lines.append(f"to go on   {counts['interrupted']}, each from where it was stopped")
    if counts["running"]:
        lines.append(f"busy       {counts['running']}, which another process is at work on")
    if counts["failed"]:
        left = "left alone: on_error=retry runs them again"
        then = {"retry": "run again", "stop": "which ends the study"}.get(on_error, left)
        lines.append(f"failed     {counts['failed']}, {then}")
    num_left = len(plan.jobs) - done - (0 if on_error == "retry" else counts["failed"])
    lines.append(f"to run     {num_left}" + (f", {min(at_once, num_left)} at once" if num_left else ""))
    seconds = [row.seconds for row in rows.values() if row.status == "finished" and row.seconds]
    if seconds and num_left:
        mean = sum(seconds) / len(seconds)
        rounds = num_left / min(at_once, num_left)
        lines.append(f"time       about {duration(mean * rounds)}, as the finished ones took {duration(mean)} each")
    return "\n".join(lines)


def _levels(levels: Sequence[Any]) -> str:
    shown = [str(level) for level in levels[:MOST_LEVELS_SHOWN]]
    more = len(levels) - len(shown)
    return ", ".join(shown) + (f", and {more} more" if more else "")


def measure(composer: Composer, plan: Plan, rows: Mapping[str, Row], at_once: int) -> str:
    """Steps and parameters of the runs, and the time that the steps of those not yet done take, in words.

    Each kind of run (data, network, batch size) is built once, in a process of its own, and a few of its steps timed.
    """
    sizes: dict[Any, Size] = {}
    totals: list[tuple[Size, bool]] = []
    for planned in plan.jobs:
        job = composer.make_job(planned.overrides)
        key = _what_decides_on_size(job)
        if key not in sizes:
            sizes[key] = _measure_apart(job, at_once)
        totals.append((sizes[key], rows[planned.id].status in DONE))
    steps = {size.steps for size, _ in totals}
    parameters = {size.parameters for size, _ in totals}
    seconds = sum(size.steps * size.seconds_per_step for size, is_done in totals if not is_done)
    num_left = sum(not is_done for _, is_done in totals)
    lines = [f"steps      {_span(steps)} in each run", f"parameters {_span(parameters)}"]
    if num_left:
        left = duration(seconds / min(at_once, num_left))
        lines.append(f"time       about {left} of training steps, from {TIMED_STEPS} timed ones, and validation")
    return "\n".join(lines)


def describe_search(directory: Path, search: Any, swept: Sequence[Override]) -> str:
    """What a search looks for and how far it has come, in a few lines."""
    lines = [f"study      {shown(directory)}", f"search     {search.sampler}: {', '.join(search.objectives)}"]
    lines.append(f"in         {' × '.join(str(override.input_line) for override in swept)}")
    return "\n".join([*lines, f"trials     {search.describe()}"])


def measure_one(job: Job, at_once: int) -> str:
    """Steps, parameters and time of a search's runs, by the example of one, in words."""
    size = _measure_apart(job, at_once)
    seconds = duration(size.steps * size.seconds_per_step)
    lines = [f"steps      {size.steps:,} in a run with {in_words(job.factors)}", f"parameters {size.parameters:,}"]
    return "\n".join([*lines, f"time       about {seconds} of training steps for each, from {TIMED_STEPS} timed ones"])


def _span(values: set[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _what_decides_on_size(job: Job) -> Any:
    groups = ("data", "augment", "backbone", "head", "finetune", "batch_size", "epochs", "steps", "trainer", "compile")
    kept = {key: job.config[key] for key in groups}
    free = ("head.dropout", "finetune.head_rate", "finetune.decay", "data.seed", "data.split_seed")
    return tuple(sorted((key, str(value)) for key, value in leaves(kept) if key not in free))


def _measure_apart(job: Job, at_once: int) -> Size:
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    threads = max(1, num_cores() // at_once)  # as each run has them beside the others
    process = context.Process(target=_measure, args=(job, environment_of_a_job(), threads, sender))
    process.start()
    sender.close()
    try:
        found: Size | str = receiver.recv()
    except EOFError:
        found = "its process died"
    except BaseException:  # a signal: nobody waits for it any more
        process.kill()
        raise
    process.join()
    if isinstance(found, str):
        raise ValueError(f"{' '.join(job.overrides)}: a step of this run could not be tried: {found}")
    return found


def _measure(job: Job, environment: Mapping[str, str], threads: int, sender: Any) -> None:
    begin_apart(environment)
    write_to(Path(os.devnull))
    try:
        import torch

        torch.set_num_threads(threads)
        sender.send(size_of(job))
    except Exception as error:
        sender.send(explain(error, job.overrides))


def size_of(job: Job) -> Size:
    """Builds a run on one device in this process and times a few of its steps."""
    from leyden.config import Origin
    from leyden.rehearsal import Rehearsal

    config: Any = OmegaConf.create(dict(job.config))
    rehearsal = Rehearsal(config, Origin(job.overrides, job.choices, job.config_directories))
    steps = config.steps or _steps_of_training(config, len(rehearsal.data.train_dataloader()))
    stopwatch = _Stopwatch()
    rehearsal.run(WARM_UP_STEPS + TIMED_STEPS, [stopwatch])
    seconds = stopwatch.times[-1] - stopwatch.times[WARM_UP_STEPS - 1]
    return Size(rehearsal.num_parameters, steps, seconds / TIMED_STEPS)


def _steps_of_training(config: Any, num_batches: int) -> int:
    limit = config.trainer.limit_train_batches
    if isinstance(limit, float):
        num_batches = int(num_batches * limit)
    elif limit is not None:
        num_batches = min(num_batches, limit)
    return int(config.trainer.max_epochs * math.ceil(num_batches / config.trainer.accumulate_grad_batches))
