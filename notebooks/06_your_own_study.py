# %% [markdown]
r"""
# 6 · Your own study

From a question to an answer that says how sure it is: plan, sweep, report, conclusion. And three ways to be wrong,
each shown by doing it wrong: a single run, tuning on the test images, one shared learning rate.
"""

# %%
import csv
import json
import os
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown, display

from leyden.predictions import read_predictions
from leyden.report.statistics import difference, estimate, seeds_needed

plt.style.use("lesson.mplstyle")
torch.set_num_threads(1)
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # `leyden` below is this Python's
scratch = tempfile.TemporaryDirectory(prefix="leyden_")  # what is trained here is written there, and goes in the end
os.chdir(scratch.name)


def read_runs(study):
    """The directory of a study, and the rows of its table of results."""
    (table,) = Path("runs").glob(f"*/{study}/results.csv")
    with table.open(newline="") as file:
        return table.parent, list(csv.DictReader(file))


# %% [markdown]
r"""
## The question, before anything runs

*Does dropout help a small network that learns digits from few labels?* That is not yet a question which an experiment
answers. This one is:

> An MLP of one hidden layer of 64 nodes, 20 labels per class, 25 epochs: is the test accuracy with
> `backbone.dropout=0.4` higher than without it, on average over the random first weights and orders of the images?

It names what varies, between which values, what is held still, what is measured, and over what the mean is taken: the
**seed**, the number from which all that is random in a run is drawn. Write down also what would prove you wrong: *if
the 95 % interval of the difference lies below 0 or includes it, the study does not show that dropout helps.*

`plan=true` says what would run, and for how long, and runs nothing:
"""

# %%
settings = "data=digits data.labels_per_class=20 backbone=mlp backbone.depth=1 backbone.width=64"
settings += " batch_size=50 epochs=25 trainer=cpu logger=csv"
sweep = "backbone.dropout=0,0.4 'seed=range(0,10)' study=dropout"
# !leyden train -m {settings} {sweep} plan=true | tail -7

# %% [markdown]
r"""
## The sweep

The same line without `plan=true`. If it is interrupted, the same line again finishes what is missing.
"""

# %%
# !leyden train -m {settings} {sweep} | grep -A 12 "finished$"

# %% [markdown]
r"""
## The report, and a conclusion with its uncertainty

Each setting has ten accuracies, one for each seed. Their mean is not the truth but an estimate of it: another ten
seeds would give another. A **95 % interval** is made by a rule whose intervals hold the true mean in 95 of 100
studies (Student 1908, *The probable error of a mean*). Where both settings ran with the same seeds, it is the ten
differences that have a mean and an interval.
"""

# %%
directory, runs = read_runs("dropout")
report = json.loads((directory / "report.json").read_text())
display(Markdown("\n\n".join("> " + sentence for sentence in report["answer"])))
runs.sort(key=lambda run: int(run["seed"]))
test = {
    share: np.array([100 * float(run["test/accuracy"]) for run in runs if run["backbone.dropout"] == share])
    for share in ("0", "0.4")
}
figure, (left, right) = plt.subplots(1, 2, width_ratios=[3, 2])
for row, values in enumerate(test.values()):
    found = estimate(values)
    left.plot(values, np.full(10, row) + np.linspace(-0.12, 0.12, 10), "o", color="0.55", fillstyle="none")
    left.errorbar(found["mean"], row + 0.28, xerr=found["mean"] - found["low"], fmt="s", color="black", capsize=4)
left.set(yticks=[0, 1], yticklabels=["no dropout", "dropout 0.4"], ylim=(-0.4, 1.6), xlabel="test images right (%)")
left.set_title("Ten seeds; mean and 95 % interval")
gain = difference(test["0.4"], test["0"], is_paired=True)
right.plot(test["0.4"] - test["0"], np.linspace(-0.12, 0.12, 10), "o", color="0.55", fillstyle="none")
right.errorbar(gain.mean, 0.28, xerr=gain.mean - gain.low, fmt="s", color="black", capsize=4)
right.axvline(0, color="black", linestyle=":", linewidth=1)
right.set(yticks=[], ylim=(-0.4, 0.6), xlabel="dropout − none, same seed (points)", title="Differences")
plt.show()
verdict = (
    "so the study shows that it helps" if gain.low > 0 else "so the study shows that it hurts" if gain.high < 0
    else "which includes 0: the study does not show that it helps, nor that it does not"
)  # fmt: skip
display(
    Markdown(
        "**Conclusion.** With 20 labels per class, dropout of 0.4 changed the test accuracy of this network by "
        f"**{gain.mean:+.1f} points** (95 % interval {gain.low:+.1f} to {gain.high:+.1f}, ten paired seeds), "
        f"{verdict}. It says nothing of other networks, other amounts of labels or other images, nor of other draws of "
        "the labels: all runs shared one."
    )
)

# %% [markdown]
r"""
## Wrong, first way: one seed

Suppose we had run each setting once. Every pair of a run without and a run with dropout could have been that study.
Much of what is published as progress has been within such noise (Henderson et al. 2018, *Deep reinforcement learning
that matters*; Bouthillier et al. 2021, *Accounting for variance in machine learning benchmarks*).
"""

# %%
pairs = (test["0.4"][:, None] - test["0"][None, :]).ravel()
figure, axes = plt.subplots(figsize=(6, 3))
axes.hist(pairs, bins=np.arange(np.floor(pairs.min()) - 0.25, pairs.max() + 0.75, 0.5), color="0.75", edgecolor="black")
axes.axvline(0, color="black", linestyle=":", label="no difference")
axes.axvline(gain.mean, color="black", linestyle="--", label="mean of ten seeds")
axes.set(xlabel="dropout − none, one run each (points)", ylabel="pairs of runs", title="A hundred studies of one seed")
axes.legend()
plt.show()
opposite = np.mean(np.sign(pairs) != np.sign(gain.mean))
needed = seeds_needed(test["0.4"], test["0"], is_paired=True)
display(
    Markdown(
        f"**{opposite:.0%}** of them say the opposite of the ten seeds, or nothing, and they range from "
        f"{pairs.min():+.1f} to {pairs.max():+.1f} points. To show a difference such as ours in four studies of five, "
        f"{f'{needed} seeds' if needed else 'more than 1,000 seeds'} would be needed."
    )
)

# %% [markdown]
r"""
## Wrong, second way: tuning on the test images

Choose the best of many runs *by its test accuracy*, report that accuracy, and you report luck: the maximum of many
noisy numbers is larger than what any of them stands for (Dwork et al. 2015, *The reusable holdout*; Cawley & Talbot
2010, *On over-fitting in model selection*). To see how much, we divide the test images into two halves at random. The
best of our 20 runs is chosen by the one half. What is it worth on the other, which had no part in the choice?
"""

# %%
correct = []
for run in runs:
    predictions = read_predictions(directory / run["id"])
    correct.append(predictions.predictions == predictions.labels)
correct = np.array(correct)  # [runs, test images]
generator = np.random.default_rng(0)
chosen_by, really = [], []
for _ in range(1000):
    order = generator.permutation(correct.shape[1])
    half, other = correct[:, order[: len(order) // 2]].mean(1), correct[:, order[len(order) // 2 :]].mean(1)
    best = half.argmax()
    chosen_by.append(100 * half[best])
    really.append(100 * other[best])
optimism = np.mean(chosen_by) - np.mean(really)
figure, axes = plt.subplots(figsize=(6, 3))
bins = np.arange(min(really) - 0.5, max(chosen_by) + 1, 1.0)
axes.hist(chosen_by, bins, histtype="step", color="black", linestyle="-", linewidth=1.6, label="on the half that chose")
axes.hist(really, bins, color="0.8", label="the same run on the other half")
axes.set(xlabel="accuracy of the chosen run (%)", ylabel="divisions of the test images", title="The best of 20 runs")
axes.legend(loc="upper left")
plt.show()
display(
    Markdown(
        f"Reported by the half that chose: {np.mean(chosen_by):.1f} %. Worth on new images: {np.mean(really):.1f} %. "
        f"The optimism is **{optimism:.1f} points**, where the effect that we were after is {abs(gain.mean):.1f}, and "
        "nobody has cheated. Therefore: choose by validation images, look at the test images once."
    )
)

# %% [markdown]
r"""
## Wrong, third way: one shared learning rate

*Adam is better than SGD: at a learning rate of 0.001 it wins by far.* Every optimizer was given the same rate, which
looks fair, and is not: a rate means something else to each (Choi et al. 2020, *On empirical comparisons of optimizers
for deep learning*; Sivaprasad et al. 2020, *Optimizer benchmarking needs to account for hyperparameter tuning*). The
study that asks properly gives each its own rates, and lets the validation images choose.
"""

# %%
sweep = "optimizer=sgd,adam optimizer.lr=0.001,0.008,0.064 optimizer.weight_decay=0 seed=0,1,2 study=rates"
# !leyden train -m {settings} {sweep} | grep -A 12 "finished$"

# %%
_, runs_of_rates = read_runs("rates")
rates = [0.001, 0.008, 0.064]


def of(rule, rate, metric):
    """A metric of the runs with this optimizer and rate, in per cent, by seed."""
    chosen = [run for run in runs_of_rates if run["optimizer"] == rule and float(run["optimizer.lr"]) == rate]
    return [100 * float(run[metric]) for run in sorted(chosen, key=lambda run: int(run["seed"]))]


figure, axes = plt.subplots(figsize=(6, 3.2))
own = {}
for rule, marker, name in (("sgd", "o", "SGD with momentum"), ("adam", "s", "Adam")):
    means = [np.mean(of(rule, rate, "best/val/accuracy")) for rate in rates]
    own[rule] = rates[int(np.argmax(means))]
    axes.semilogx(rates, means, marker=marker, label=name)
axes.axvline(rates[0], color="black", linestyle=":", linewidth=1)
axes.annotate("the shared rate", (rates[0] * 1.05, axes.get_ylim()[0] + 1))
axes.set(xlabel="learning rate", ylabel="validation images right (%)", title="Mean of three seeds")
axes.legend(loc="lower right")
plt.show()
shared = difference(of("adam", rates[0], "test/accuracy"), of("sgd", rates[0], "test/accuracy"), is_paired=True)
fair = difference(of("adam", own["adam"], "test/accuracy"), of("sgd", own["sgd"], "test/accuracy"), is_paired=True)
display(
    Markdown(
        f"At the shared rate of {rates[0]:g} Adam is ahead by {shared.mean:+.1f} points (95 % interval "
        f"{shared.low:+.1f} to {shared.high:+.1f}). Each at its own best rate, {own['adam']:g} and {own['sgd']:g}, the "
        f"difference is **{fair.mean:+.1f} points** ({fair.low:+.1f} to {fair.high:+.1f}). The first number is about "
        "the rate, not about the optimizers."
    )
)

# %% [markdown]
r"""
SGD's best rate may be the largest that was tried, as the report tells: then a better one may lie beyond, and the
comparison is not over.

## A list to go by

1. Write the question down, with what would refute it.
2. Change one thing, hold the others still, and tune what each side needs, with the same effort.
3. Five seeds or more, the same for all settings; draw the data anew where the answer should hold for other data.
4. Choose by validation images, test once.
5. Report the difference with its interval, how many settings were tried, and what was not tried.
6. Keep the command: somebody will want to run it again.

## Words of this notebook

| word | meaning |
| --- | --- |
| seed | the number from which all that is random in a run is drawn |
| 95 % interval | made by a rule whose intervals hold the true mean in 95 of 100 studies |
"""

# %% [markdown]
r"""
## Exercise

Ask a question of your own, with two settings and five seeds. Before you run it, write down what you expect and what
would refute you; then let `leyden report` judge. Was the interval narrow enough to answer? If not, how many seeds
does the report ask for?
"""

# %% tags=["quiz"]
# Now let's see if you've learned something. (`leyden quiz 6` asks in the terminal, and tells where you were wrong.)
from leyden.quiz import show

show(6)
