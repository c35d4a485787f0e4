"""Runs of linear probes > **the same by scikit-learn**: its logistic regression on the very features of each run.

    python -m benchmarks.logistic_regression runs/elpv_probe/…        runs, studies, or directories of them

It learns from the training and the validation images, with C chosen by cross-validation in five shuffled folds, and
answers about the run's test images: once on the features as they are, once on features of mean 0 and deviation 1.
"""

import statistics
from pathlib import Path
from typing import NamedTuple

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.runs import said_of_runs
from leyden.build import build_data
from leyden.data.features import keep_features
from leyden.predictions import read_predictions
from leyden.report.words import many
from leyden.run import read_record
from leyden.trained import Trained

NAMES = ("the probe", "scikit-learn", "scikit-learn, of equal scale")
CHOICES_OF_C = [10.0**power for power in range(-4, 3)]
FOLDS = StratifiedKFold(5, shuffle=True, random_state=0)  # cells lie in their files module by module


class Scores(NamedTuple):
    """Percent of the test images that a run, and logistic regression on its features, were right about."""

    directory: Path
    values: tuple[float, float, float]  # by NAMES


def score(directory: Path) -> Scores | None:
    """The scores of a run; None where it is no probe of one label, or not finished."""
    if read_record(directory).get("status") != "finished":
        return None
    trained = Trained(directory, accelerator="cpu")
    if not (finetune := trained.classifier.finetune).keeps_features or trained.facts.task != "single_label":
        return None
    data = build_data(trained.config)
    data.setup("fit")
    features = keep_features(trained.classifier, data, finetune.views, trained.device, str(trained.run["precision"]))
    stored = read_predictions(directory)
    assert stored is not None
    asked, truth = data.test_indices, data.labels[data.test_indices]
    assert torch.equal(torch.from_numpy(stored.labels), truth), f"{directory}: another split"
    rows = torch.cat([features.views[0][data.train_indices], features.plain[data.val_indices]]).double().numpy()
    labels = torch.cat([data.labels[data.train_indices], data.labels[data.val_indices]]).numpy()
    values = [float((torch.from_numpy(stored.predictions) == truth).float().mean())]
    for scaling in ([], [StandardScaler()]):
        regression = make_pipeline(*scaling, LogisticRegression(solver="newton-cholesky"))
        model = GridSearchCV(regression, {"logisticregression__C": CHOICES_OF_C}, cv=FOLDS).fit(rows, labels)
        values.append(float(model.score(features.plain[asked].double().numpy(), truth.numpy())))
    first, second, third = (100 * value for value in values)
    return Scores(directory, (first, second, third))


def show(scores: list[Scores]) -> str:
    """A line for each run, then mean and standard deviation over them."""
    width = max(24, *(len(str(one.directory)) for one in scores))
    lines = [f"{'test accuracy, %':{width}}" + "".join(f"{name:>30}" for name in NAMES)]
    for one in scores:
        lines.append(f"{one.directory!s:{width}}" + "".join(f"{value:>30.2f}" for value in one.values))
    if len(scores) > 1:
        columns = zip(*(one.values for one in scores), strict=True)
        cells = (f"{statistics.mean(column):.2f} ± {statistics.stdev(column):.2f}" for column in columns)
        lines.append(f"{many(len(scores), 'run'):{width}}" + "".join(f"{cell:>30}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    print(show(said_of_runs("logistic_regression", __doc__ or "", score, "of a linear probe that keeps its features")))
