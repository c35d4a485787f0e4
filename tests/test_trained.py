"""What a run has learnt, built again from its checkpoint alone, against what the run itself has stored."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from running import FinishedRun, train_run

from leyden.build import build_data
from leyden.report.predictions import read_predictions
from leyden.trained import Answers, Trained, ask, probabilities_of, read_for

KINDS = {
    "mlp": ["backbone=mlp", "backbone.width=16"],
    "views and temperature": ["backbone=cnn", "backbone.channels=[4,8]", "test_time=flips", "test_time.temperature=true"],
    "adapters": ["backbone=vit", "backbone.depth=1", "backbone.width=16", "finetune=lora"],
    "compiled": ["backbone=mlp", "backbone.width=16", "compile=true", "epochs=1"],
}


def answers_of(trained: Trained) -> Answers:
    """To the run's own test images, in their order."""
    data = build_data(trained.config)
    data.setup("fit")
    found = ask(trained, data.test_dataloader())
    order = found.indices.argsort()
    return Answers(*(part[order] for part in found))


@pytest.mark.parametrize("kind", KINDS)
def test_its_answers_are_those_the_run_was_tested_with(kind: str, tmp_path: Path) -> None:
    run = train_run(tmp_path, *KINDS[kind], "pictures=false", "data.train_fraction=0.3")
    moved = tmp_path / "moved, with a space é"
    shutil.move(run.directory, moved)
    found = answers_of(Trained(moved))
    stored = read_predictions(moved)
    assert stored is not None and stored.confidences is not None
    probabilities = probabilities_of(found.outputs, "single_label").max(1)
    assert np.array_equal(probabilities.indices.numpy(), stored.predictions)
    np.testing.assert_allclose(probabilities.values.numpy(), stored.confidences, atol=1e-6)
