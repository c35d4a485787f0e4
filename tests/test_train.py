"""The whole road: what a run learns, leaves behind and repeats."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import timm
import torch
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import LambdaCallback

from leyden import command_line
from leyden.build import HOOKS_OF_A_STEP, SyncedNorms, build_classifier, build_data, without_empty_hooks
from leyden.callbacks import Progress
from leyden.config import CONFIG_DIRECTORY
from leyden.metric_names import metric_names
from leyden.run import RunRecord
from leyden.summary import next_commands
from running import FinishedRun, compose_config
from task_sources import with_data

Train = Callable[..., FinishedRun]


def weights(run: FinishedRun, name: str = "last") -> dict[str, torch.Tensor]:
    return run.checkpoint(name)["state_dict"]


def same_bits(first: FinishedRun, second: FinishedRun) -> bool:
    ours, theirs = weights(first), weights(second)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_run_directory_is_complete(train_run: Train) -> None:
    run = train_run("augment=standard", "pictures=true")
    names = {path.relative_to(run.directory).as_posix() for path in run.directory.rglob("*") if path.is_file()}
    kinds = ("worst", "uncertain", "random")
    examples = {f"examples/{why}_{number}.png" for why in kinds for number in range(8)} | {"examples/examples.csv"}
    assert names == examples | {
        "augmentation.png", "reliability.png", "precision_recall.png", "precision_recall.csv", "examples.png",
        "run.json", "config.yaml", "metrics.csv", "log.txt", "learning_curves.png", "confusion_matrix.png",
        "confusion_matrix.csv", "test_predictions.npz",
        ".lock", "checkpoints/last.ckpt", "checkpoints/last.ckpt.sha256",
        "checkpoints/previous.ckpt", "checkpoints/previous.ckpt.sha256",
        "checkpoints/best.ckpt", "checkpoints/best.ckpt.sha256",
        "checkpoints/best_copy.ckpt", "checkpoints/best_copy.ckpt.sha256",
    }  # fmt: skip
    record = run.record
    assert record["status"] == "finished"
    assert record["data"]["num_test"] == 359
    assert set(run.metrics) >= {f"test/{name}" for name in metric_names([str(digit) for digit in range(10)])}
    low, high = record["intervals"]["test/accuracy"]
    assert low < run.metrics["test/accuracy"] < high
    assert "weight decay:" in (run.directory / "log.txt").read_text(encoding="utf-8")


def test_metrics_are_logged_for_every_epoch(train_run: Train) -> None:
    run = train_run("trainer.log_every_n_steps=5", "epochs=3")
    for name in ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "val/macro_f1", "val/ece"):
        assert len(run.column(name)) == 3
    assert len(run.column("val/accuracy_gap")) == 3
    assert len(run.column("train/loss_step")) == 3 * math.ceil(18 / 5)
    assert run.column("lr")[0] > 0
    assert min(run.column("gradient_norm")) > 0
    steps = [int(row["step"]) for row in run.rows]
    assert steps == sorted(steps)


def test_gap_is_training_minus_validation_accuracy(train_run: Train) -> None:
    run = train_run()
    expected = [a - b for a, b in zip(run.column("train/accuracy"), run.column("val/accuracy"), strict=True)]
    assert run.column("val/accuracy_gap") == pytest.approx(expected)


@pytest.mark.parametrize("extra", [[], ["augment=strong", "backbone.dropout=0.2", "callbacks.ema.decay=0.9"]])
def test_same_seed_gives_the_same_bits(train_run: Train, extra: list[str]) -> None:
    first, second = train_run(*extra), train_run(*extra)
    assert same_bits(first, second)
    assert first.rows == second.rows
    assert not same_bits(first, train_run(*extra, "seed=1"))


def test_network_overfits_64_images(train_run: Train) -> None:
    run = train_run("data.train_fraction=0.055", "backbone.width=64", "batch_size=64", "epochs=60")
    assert 60 <= run.record["data"]["num_train"] <= 70
    assert run.column("train/accuracy")[-1] == 1.0
    assert run.column("train/loss")[-1] < 0.02


PARTS = [
    f"{group}={path.stem}"
    for group in ("optimizer", "schedule", "loss")
    for path in sorted((CONFIG_DIRECTORY / group).glob("*.yaml"))
]


@pytest.mark.parametrize("part", PARTS)
def test_every_part_trains_is_saved_and_tested(part: str, train_run: Train) -> None:
    run = train_run(*with_data(part), "epochs=1")
    assert run.record["status"] == "finished"
    assert run.checkpoint("last")["optimizer_states"]


def test_recall_of_a_class_can_be_monitored(train_run: Train) -> None:
    run = train_run("monitor=val/recall/3", "schedule=plateau")
    assert run.metrics["best/val/recall/3"] == pytest.approx(max(run.column("val/recall/3")))
    assert run.checkpoint("best")["state_dict"]


def test_best_checkpoint_is_that_of_the_best_epoch(train_run: Train) -> None:
    run = train_run("epochs=6", "optimizer.lr=0.05", "monitor=val/loss")
    losses = run.column("val/loss")
    assert run.metrics["best/epoch"] == losses.index(min(losses))
    assert run.metrics["best/val/loss"] == pytest.approx(min(losses))
    assert run.checkpoint("best")["epoch"] == run.metrics["best/epoch"]


def test_steps_end_training_when_given(train_run: Train) -> None:
    run = train_run("steps=25")
    assert run.checkpoint()["global_step"] == 25
    assert len(run.column("val/accuracy")) == len(run.column("train/loss")) == 2
    assert run.checkpoint("best")["global_step"] in (18, 25)


def test_the_last_step_is_validated_whatever_epoch_it_is_in(train_run: Train) -> None:
    run = train_run("steps=25", "trainer.check_val_every_n_epoch=5")
    assert run.checkpoint("best")["global_step"] == 25


def test_batch_norm_over_all_devices_keeps_the_activation_of_timms_norms() -> None:
    network = timm.create_model("tf_efficientnet_lite0", num_classes=2).eval()
    images = torch.rand(2, 3, 64, 64)
    expected = network(images)
    synced = SyncedNorms().revert(SyncedNorms().apply(network))
    assert any(isinstance(module, torch.nn.SyncBatchNorm) for module in synced.modules())
    torch.testing.assert_close(synced(images), expected)


def test_a_preset_of_a_study_trains_one_run_where_each_varied_key_has_a_value(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [f"hydra.run.dir={tmp_path / 'run'}", "study=lesson_dropout", "seed=0"]
    assert command_line.train(words) == 1
    assert "study=lesson_dropout is for a study of several runs: add -m" in capfd.readouterr().err
    assert not (tmp_path / "run").exists()
    words += ["backbone.width=8", "epochs=1", "logger=csv", "trainer=cpu", "pictures=false"]
    assert command_line.train([*words, "backbone.dropout=0.2"]) == 0
    config = OmegaConf.load(tmp_path / "run" / "config.yaml")
    assert (config["data"]["labels_per_class"], config["backbone"]["dropout"]) == (20, 0.2)


def test_schedule_ends_with_the_last_step(train_run: Train) -> None:
    run = train_run("trainer.log_every_n_steps=1", "epochs=3", "schedule.warmup_fraction=0.0")
    rates = run.column("lr")
    assert len(rates) == 54
    expected = [0.005 * (1 + math.cos(math.pi * step / 54)) / 2 for step in range(54)]
    assert rates == pytest.approx(expected)


def test_accumulation_of_two_halves_equals_the_whole_batch(train_run: Train) -> None:
    common = ["optimizer=sgd", "epochs=1", "schedule=constant"]
    whole = train_run("batch_size=128", *common)
    halves = train_run("batch_size=64", "trainer.accumulate_grad_batches=2", *common)
    assert whole.checkpoint()["global_step"] == halves.checkpoint()["global_step"] == 9
    for name, expected in weights(whole).items():
        torch.testing.assert_close(weights(halves)[name], expected, atol=1e-5, rtol=1e-4)


def test_clipping_bounds_the_step(train_run: Train) -> None:
    common = ["optimizer=sgd", "optimizer.momentum=0", "optimizer.nesterov=false", "optimizer.weight_decay=0"]
    common += ["optimizer.lr=1.0", "schedule=constant", "steps=1"]
    before = train_run(*common, "optimizer.lr=1e-12")
    after = train_run(*common, "trainer.gradient_clip_val=0.01")
    moved = sum((weights(after)[name] - value).square().sum() for name, value in weights(before).items())
    assert float(moved) ** 0.5 == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "adagrad", "muon"])
def test_clipping_works_with_every_kind_of_optimizer(train_run: Train, optimizer: str, precision: str) -> None:
    settings = [f"optimizer={optimizer}", f"trainer.precision={precision}", "steps=3"]
    clipped = train_run(*settings, "trainer.gradient_clip_val=1e-3")
    assert clipped.record["status"] == "finished"
    assert not same_bits(clipped, train_run(*settings))


def test_other_metrics_than_the_root_s_can_stop_training_early(train_run: Train) -> None:
    monitored = ["callbacks.early_stopping.monitor=val/recall/3", "callbacks.early_stopping.patience=2"]
    run = train_run("epochs=30", "optimizer.lr=1e-9", *monitored)
    assert len(run.column("val/accuracy")) == 3


def test_metric_of_early_stopping_that_nobody_logs_is_named_before_training(train_run: Train) -> None:
    with pytest.raises(ValueError, match=r"callbacks.early_stopping.monitor=val/lss.*did you mean 'val/loss'"):
        train_run("callbacks.early_stopping.monitor=val/lss", "callbacks.early_stopping.patience=2")


def test_validation_within_an_epoch_is_logged(train_run: Train) -> None:
    run = train_run("+trainer.val_check_interval=6", "epochs=1")
    assert len(run.column("val/accuracy")) == 3


def test_precision_that_was_used_is_recorded(train_run: Train) -> None:
    assert train_run("trainer.precision=16-mixed").record["precision"] == "bf16-mixed"


def test_early_stopping_ends_training(train_run: Train) -> None:
    run = train_run("epochs=30", "optimizer.lr=1e-9", "callbacks.early_stopping.patience=2", "monitor=val/accuracy")
    assert len(run.column("val/accuracy")) == 3
    assert run.record["status"] == "finished"


def test_averaged_weights_are_the_formula_and_are_evaluated(train_run: Train) -> None:
    run = train_run("steps=2", "callbacks.ema.decay=0.75", "monitor=val/ema_accuracy")
    first = train_run("steps=1", "schedule=cosine")
    ema = run.checkpoint()["callbacks"]["Ema"]["average"]
    assert "test/ema_accuracy" in run.metrics
    assert run.metrics["best/val/ema_accuracy"] == pytest.approx(run.column("val/ema_accuracy")[-1])
    assert first.checkpoint()["global_step"] == 1
    assert int(ema["n_averaged"]) == 2


@pytest.mark.filterwarnings(
    "ignore::lightning_fabric.utilities.warnings.PossibleUserWarning"
)  # advice for this machine
def test_trainer_of_ones_own_hears_what_training_validation_and_the_test_have_found() -> None:
    config = compose_config("backbone=mlp", "trainer.precision=32")
    data = build_data(config)
    classifier = build_classifier(config, data)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(classifier, datamodule=data)
    trained = dict(trainer.callback_metrics)
    trainer.validate(classifier, datamodule=data, verbose=False)
    validated = dict(trainer.callback_metrics)
    trainer.test(classifier, datamodule=data, verbose=False)
    own = {"val/accuracy_gap"}  # to the training accuracy, which only training has
    assert "val/accuracy" in trained
    assert {name: trained[name] for name in trained.keys() - own} == {
        name: validated[name] for name in validated.keys() - own
    }
    assert {name.replace("test/", "val/") for name in trainer.callback_metrics} == trained.keys() - own


def test_hooks_of_a_step_that_do_nothing_are_taken_away_and_others_stay() -> None:
    mine = LambdaCallback(on_train_batch_end=lambda *arguments: None)
    ours = Progress()
    without_empty_hooks([mine, ours])
    for callback in (mine, ours):
        kept = {hook for hook in HOOKS_OF_A_STEP if callable(getattr(callback, hook))}
        assert kept == {"on_train_batch_end"}


@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
def test_precisions_learn(train_run: Train, precision: str) -> None:
    run = train_run(f"trainer.precision={precision}", "epochs=8", "backbone.width=64")
    assert run.record["precision"] == {"32": "32-true"}.get(precision, precision)
    assert run.metrics["test/accuracy"] > 0.9


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle", "step", "exponential", "plateau"])
def test_every_schedule_trains(train_run: Train, schedule: str) -> None:
    run = train_run(f"schedule={schedule}", "epochs=6", "backbone.width=64")
    assert run.metrics["test/accuracy"] > 0.8


@pytest.mark.parametrize("loss", ["cross_entropy", "focal", "earth_mover"])
def test_losses_train_with_mixed_images_and_balanced_classes(train_run: Train, loss: str) -> None:
    settings = [f"loss={loss}", "loss.class_weights=balanced", "loss.label_smoothing=0.1"]
    run = train_run("augment=strong", "augment.operations=null", *settings, "epochs=6")
    assert run.metrics["test/accuracy"] > 0.4


def test_nonfinite_loss_stops_and_keeps_the_last_good_checkpoint(train_run: Train, tmp_path: Any) -> None:
    with pytest.raises(ArithmeticError, match=r"became (nan|inf) at step \d+ \(learning rate .*, gradient norm .*\)"):
        train_run("optimizer=sgd", "optimizer.lr=1e18", "schedule=cosine", "schedule.warmup_fraction=0.9", "epochs=9",
                  "optimizer.weight_decay=0")  # fmt: skip
    run = FinishedRun(tmp_path / "run1")
    assert run.record["status"] == "failed"
    assert "learning rate" in run.record["reason"]
    assert "Traceback" in (run.directory / "error.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(("temperature", "named"), [("false", "test/loss"), ("true", "val_loss_before")])
def test_answers_that_are_no_numbers_are_named_and_the_weights_stay(
    temperature: str, named: str, train_run: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spoil.py").write_text(
        "import pytorch_lightning as pl\n"
        "class Spoil(pl.Callback):\n"
        "    def on_fit_end(self, trainer, module):\n"
        "        module.head.register_forward_hook(lambda *told: told[-1] * float('nan'))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=f"{named}.*: no number"):
        train_run("+callbacks.spoil={_target_: spoil.Spoil}", f"test_time.temperature={temperature}")
    run = FinishedRun(tmp_path / "run1")
    assert run.record["status"] == "failed"
    assert (run.directory / "checkpoints" / "best.ckpt").is_file()


def test_batch_is_held_against_as_many_devices_as_are_found(train_run: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytorch_lightning.Trainer.fit", None)  # which would start the second process
    with pytest.raises(ValueError, match=r"batch_size=33 does not divide over trainer\.devices=2"):
        train_run("trainer.devices='2'", "batch_size=33")  # of words, as auto is one, the config says no number


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["optimizer=sgd", "optimizer.nesterov=true", "seed=3"], "train -m optimizer=sgd,adam,rmsprop seed=0,1,2"),
        (["backbone=linear", "epochs=2"], "train -m backbone=linear epochs=2 optimizer=sgd,adam,rmsprop seed=0,1,2"),
    ],
)
def test_commands_worth_trying_have_no_keys_of_options_that_they_change(
    words: list[str], expected: str, tmp_path: Path
) -> None:
    run = RunRecord(tmp_path, words)
    run.facts["command"] = "leyden train"
    assert next_commands(run, [])[-1].endswith(expected)
    run.facts["command"] = "leyden train --config-dir 'my conf' backbone=linear"
    assert "train --config-dir='my conf' " in next_commands(run, [])[-1]
