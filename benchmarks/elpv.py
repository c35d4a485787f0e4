"""Runs on ELPV > **beside what is published**: how often they are right, counted and weighted, and which is better.

    python -m benchmarks.elpv runs/elpv_finetune/… runs/elpv_probe/…        runs, studies, or directories of them

Deitsch et al. 2019 ("Automatic classification of defective photovoltaic module cells in electroluminescence images")
report 88.42 % for a fine-tuned VGG-19 and 82.44 % for an SVM on these cells in two classes, where cells that experts
were unsure of count a third or two thirds. The paper was not at hand; figures and weights are as others quote them.
Two readings of a cell that was thought sound without confidence (a chance of 1/3) are about: sound, which is what the
runs here learn, and defective. Both are shown. Their split has 75 and 25 % of the cells, stratified, as here; it is
one, and which cells are in it is not known here.
"""

import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import torch
from omegaconf import DictConfig, OmegaConf

from benchmarks.runs import said_of_runs
from leyden.build import build_data
from leyden.data.elpv import ELPV
from leyden.predictions import read_predictions
from leyden.report.statistics import Difference, difference
from leyden.report.words import many
from leyden.run import read_record

PUBLISHED = {"their CNN": 88.42, "their SVM": 82.44}
NAMES = ("counted", "weighted, 1/3 is sound", "weighted, 1/3 is defective")


class Scores(NamedTuple):
    """Percent of the test cells that a run was right about."""

    way: str
    split_seed: int
    values: tuple[float, float, float]  # by NAMES
    share: float  # of test cells to training cells


def score(directory: Path) -> Scores | None:
    """The scores of a run of two classes at a chance of a half; None where it is none, or not finished."""
    if read_record(directory).get("status") != "finished":
        return None
    config = OmegaConf.load(directory / "config.yaml")
    assert isinstance(config, DictConfig)
    source = config.data.source
    if not source["_target_"].endswith(".ELPV") or source.threshold != 0.5:
        return None
    data = build_data(config)
    data.setup("test")
    chances = ELPV(8, task="regression").load(Path()).labels[data.test_indices]
    stored = read_predictions(directory)
    assert stored is not None
    answers = torch.from_numpy(stored.predictions)
    assert torch.equal(torch.from_numpy(stored.labels), (chances >= 0.5).long()), f"{directory}: another split"
    weights = torch.where(chances.round() == chances, 1.0, chances)
    counted = (answers == (chances >= 0.5)).float().mean()
    readings = [((answers == truth) * weights).sum() / weights.sum() for truth in (chances >= 0.5, chances > 0)]
    values = [100 * float(value) for value in (counted, *readings)]
    is_new = not (config.backbone.get("pretrained") or config.weights)
    name = "scratch" if is_new else config.finetune["_target_"].rpartition(".")[2]
    share = len(data.test_indices) / (len(data.train_indices) + len(data.val_indices))
    return Scores(name, config.data.split_seed, (values[0], values[1], values[2]), share)


def show(scores: list[Scores]) -> str:
    """A line for each way with mean and standard deviation over splits, then how two ways differ, paired by split."""
    by_way: dict[str, dict[int, Scores]] = defaultdict(dict)
    for one in scores:
        if one.split_seed in by_way[one.way]:
            sys.exit(f"two runs of {one.way} on split {one.split_seed}: give those of one setting and one seed")
        by_way[one.way][one.split_seed] = one
    lines = [f"{'test accuracy, %':18}" + "".join(f"{name:>28}" for name in NAMES)]
    for way, runs in by_way.items():
        columns = zip(*(run.values for run in runs.values()), strict=True)
        cells = "".join(f"{_spread(column):>28}" for column in columns)
        lines.append(f"{way:18}{cells}    {many(len(runs), 'split')}: {', '.join(map(str, runs))}")
    lines += [f"{name:18}{'':28}{value:>28.2f}" for name, value in PUBLISHED.items()]
    ways = list(by_way)
    if len(ways) == 2 and len(both := sorted(by_way[ways[0]].keys() & by_way[ways[1]].keys())) > 1:
        first, second = ([by_way[way][seed] for seed in both] for way in ways)
        ours, theirs = ([run.values[0] for run in runs] for runs in (first, second))
        lines.append(_tell(f"{ways[0]} - {ways[1]}", difference(ours, theirs, is_paired=True), first[0].share))
    return "\n".join(lines)


def _spread(values: tuple[float, ...]) -> str:
    return f"{statistics.mean(values):.2f}" + (f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else "")


def _tell(name: str, found: Difference, share: float) -> str:
    """The difference with its 95 % t-interval, and with that of Nadeau & Bengio 2003: splits share their cells."""
    assert found.high is not None
    half = found.high - found.mean
    corrected = half * (1 + found.n * share) ** 0.5
    return (
        f"{name}, paired by split: {found.mean:+.2f}, 95 % interval {found.mean - half:+.2f} to {found.high:+.2f}, "
        f"with splits that share cells {found.mean - corrected:+.2f} to {found.mean + corrected:+.2f}"
    )


if __name__ == "__main__":
    print(show(said_of_runs("elpv", __doc__ or "", score, "on ELPV in two classes")))
