"""What a run has learnt, built again from its checkpoint alone, against what the run itself has stored."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from sklearn.metrics import f1_score

from exports import untrained
from leyden import __version__
from leyden.build import build_data
from leyden.checkpoint import read_checkpoint, write_checkpoint
from leyden.data import Digits
from leyden.predictions import read_predictions
from leyden.trained import Answers, Trained, ask, best_of_study, open_network, probabilities_of, read_for
from running import FinishedRun
from task_sources import MULTI_LABEL, REGRESSION
from written_studies import write_study

Train = Callable[..., FinishedRun]

KINDS = {
    "mlp": [],
    "views and temperature": ["backbone=cnn", "backbone.widths=[4,8]", "test_time=flips", "test_time.temperature=true"],
    "adapters": ["backbone=vit", "backbone.depth=1", "backbone.width=12", "finetune=lora"],
    "half precision": ["trainer.precision=bf16-mixed"],
    "class weights": ["loss.class_weights=balanced"],
    "a normed head on kept features": ["finetune=linear_probe", "head=normed"],
}
QUICK = ["pictures=false", "epochs=1", "data.train_fraction=0.3"]


def answers_of(trained: Trained) -> Answers:
    """To the run's own test images, in their order."""
    data = build_data(trained.config)
    data.setup("fit")
    found = ask(trained, data.test_dataloader())
    order = found.indices.argsort()
    return Answers(*(part[order] for part in found))


@pytest.mark.parametrize("kind", KINDS)
def test_its_answers_are_those_the_run_was_tested_with(kind: str, train_run: Train, tmp_path: Path) -> None:
    run = train_run(*KINDS[kind], *QUICK)
    moved = tmp_path / "moved, with a space é"
    shutil.move(run.directory, moved)
    found = answers_of(Trained(moved))
    stored = read_predictions(moved)
    assert stored is not None
    assert stored.confidences is not None
    probabilities = probabilities_of(found.outputs, "single_label").max(1)
    assert np.array_equal(probabilities.indices.numpy(), stored.predictions)
    np.testing.assert_allclose(probabilities.values.numpy(), stored.confidences, atol=1e-6)


@pytest.mark.parametrize(("task", "words"), {"multi_label": MULTI_LABEL, "regression": REGRESSION}.items())
def test_answers_of_other_tasks_too(task: str, words: list[str], train_run: Train) -> None:
    run = train_run(*words, *QUICK)
    trained = Trained(run.directory)
    found, stored = probabilities_of(answers_of(trained).outputs, trained.facts.task), read_predictions(run.directory)
    assert stored is not None
    assert trained.facts.task == task
    expected = stored.predictions if stored.confidences is None else stored.confidences
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-6)


def test_averaged_weights_answer_where_they_chose_the_best(train_run: Train) -> None:
    run = train_run("callbacks.ema.decay=0.5", "monitor=val/ema_accuracy", *QUICK)
    found = answers_of(Trained(run.directory))
    accuracy = float((found.outputs.argmax(1) == found.labels).double().mean())
    assert accuracy == pytest.approx(run.metrics["test/ema_accuracy"], abs=1e-9)


@pytest.mark.parametrize("words", [[], ["test_time=flips", "test_time.temperature=true"]])
def test_averaged_weights_answer_at_the_thresholds_of_their_test(words: list[str], train_run: Train) -> None:
    monitor = "monitor=val/ema_mean_average_precision"
    run = train_run(*MULTI_LABEL, "callbacks.ema.decay=0.9", monitor, *QUICK, *words)
    trained = Trained(run.directory)
    found = answers_of(trained)
    macro_f1 = f1_score(found.labels, found.outputs > trained.kept_thresholds(), average="macro", zero_division=0)
    assert macro_f1 == pytest.approx(run.metrics["test/ema_macro_f1"], abs=1e-6)
    assert macro_f1 != pytest.approx(run.metrics["test/macro_f1"], abs=1e-6)


def test_thresholds_of_an_earlier_test_are_not_those_of_newer_weights(train_run: Train) -> None:
    run = train_run(*MULTI_LABEL, *QUICK)
    kept = run.checkpoint("best")["state_dict"]["test_metrics.thresholds.logits"]
    (run.directory / "classes.csv").write_text("threshold\n" + "0.75\n" * len(kept), encoding="utf-8")
    assert not torch.allclose(Trained(run.directory).kept_thresholds(), kept)
    untested = {key: value for key, value in run.record.items() if key != "metrics"}  # which trains longer
    (run.directory / "run.json").write_text(json.dumps(untested), encoding="utf-8")
    assert torch.equal(Trained(run.directory).kept_thresholds(), kept)


def test_a_checkpoint_alone_is_enough(train_run: Train, tmp_path: Path) -> None:
    run = train_run(*QUICK)
    file = tmp_path / "carried away.ckpt"
    shutil.copy(run.directory / "checkpoints" / "best.ckpt", file)
    images = Digits().load(tmp_path).images[:5]
    assert torch.equal(Trained(file).logits(images), Trained(run.directory).logits(images))
    assert torch.equal(Trained(run.directory, "last").logits(images), Trained(run.directory, str(file)).logits(images))


def test_copy_of_a_damaged_best_checkpoint_answers_and_that_is_said(
    train_run: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = train_run(*QUICK)
    images = Digits().load(tmp_path).images[:5]
    whole = Trained(run.directory).logits(images)
    path = run.directory / "checkpoints" / "best.ckpt"
    path.write_bytes(path.read_bytes()[:-100])
    assert torch.equal(Trained(run.directory).logits(images), whole)
    assert "best.ckpt is damaged" in caplog.text
    assert "its copy best_copy.ckpt is taken" in caplog.text


def test_a_checkpoint_within_its_run_answers_as_the_run(train_run: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train_run("test_time.temperature=true", *QUICK)
    monkeypatch.chdir(run.directory / "checkpoints")
    for named in (run.directory / "checkpoints" / "best.ckpt", Path("best.ckpt")):
        within = Trained(named)
        assert within.directory == run.directory
        assert within.test_time.temperature == run.record["calibration"]["temperature"] != 1


def test_what_its_weights_once_came_from_is_not_asked_for(train_run: Train, tmp_path: Path) -> None:
    first = train_run(*QUICK)
    second = train_run(*QUICK, f"weights={first.directory}", "seed=1")
    shutil.rmtree(first.directory)
    assert Trained(second.directory).facts.class_names == tuple("0123456789")


def test_a_study_without_a_best_run_asks_for_one_of_its_runs(tmp_path: Path) -> None:
    study = write_study(tmp_path / "rates", {"rate": [1, 2]}, lambda rate: 0.7, seeds=[0])
    path = study / f"{1:010x}" / "run.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["data"]["fingerprint"] = "0" * 64
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ValueError, match=r"best run of this study is not known .runs saw different images.*: give the"):
        open_network(study)
    for record_of_run in study.glob("*/run.json"):
        record_of_run.unlink()
    with pytest.raises(ValueError, match=r"best run of this study is not known .*no run has finished"):
        open_network(study)


def test_a_file_is_read_as_the_network_wants_it(train_run: Train, tmp_path: Path) -> None:
    trained = Trained(train_run(*QUICK).directory)
    image = Digits().load(tmp_path).images[3]
    Image.fromarray(image[0].numpy()).save(tmp_path / "3.png")
    assert torch.equal(read_for(trained.facts, tmp_path / "3.png"), image)


def test_of_a_study_the_run_answers_that_validation_likes_best(tmp_path: Path) -> None:
    study = write_study(tmp_path / "rates", {"rate": [1, 2, 3]}, lambda rate: {1: 0.7, 2: 0.9, 3: 0.8}[rate], seeds=[0])
    assert best_of_study(study) == study / f"{1:010x}"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"_target_": "leyden.backbones.Mlpp"}, "leyden.backbones has no 'Mlpp'"),
        ({"_target_": "parts_of_mine.Linear"}, "there is no module 'parts_of_mine' to import"),
        ({"of_another_version": True}, "unknown key 'backbone.of_another_version'"),
    ],
)
def test_a_network_whose_parts_are_not_here_is_one_sentence(
    change: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    path = untrained(tmp_path, "backbone.width=8").path
    state = read_checkpoint(path)
    config = OmegaConf.create(state["run"]["config"])
    OmegaConf.update(config, "backbone", change)
    state["run"]["config"] = OmegaConf.to_yaml(config)
    write_checkpoint(state, path)
    with pytest.raises(ValueError, match=re.escape(f"{path}: its network cannot be built here (")) as caught:
        open_network(tmp_path)
    assert reason in str(caught.value)
    assert f"it was written by Leyden {__version__}, use that version" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_that_cannot_answer_says_why(train_run: Train, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="nothing is there; give a run's directory, a study's, a checkpoint, an export"
    ):
        open_network(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no run: give a run's directory"):
        open_network(tmp_path)
    run = train_run(*QUICK)
    with pytest.raises(ValueError, match=r"config\.yaml is no checkpoint: give a run's directory"):
        open_network(run.directory / "config.yaml")
    with pytest.raises(ValueError, match="checkpoint=frist is no file: give one, or best or last"):
        open_network(run.directory, "frist")
    (run.directory / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(ValueError, match=r"has no checkpoints/best.ckpt, and its status is finished"):
        open_network(run.directory)
