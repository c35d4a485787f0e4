"""Soups: one network from the weights of several runs."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from leyden import command_line
from leyden.build import build_classifier, build_data
from leyden.card.write import card_of
from leyden.checkpoint import read_checkpoint
from leyden.report.collect import Found, collect
from leyden.soup import Ingredient, cook, mean_of, renew_statistics, warn_of_no_gain
from leyden.trained import Trained
from running import FinishedRun, compose_config

Train = Callable[..., FinishedRun]

FLOAT32 = "trainer.precision=32-true"


def accuracy(state: dict[str, torch.Tensor], run: FinishedRun, split: str) -> float:
    """Of these weights on a split, in a loop of its own."""
    config = OmegaConf.load(run.directory / "config.yaml")
    data = build_data(config)  # type: ignore[arg-type]
    classifier = build_classifier(config, data)  # type: ignore[arg-type]
    classifier.load_state_dict(state)
    classifier.eval()
    data.setup(split)
    right = total = 0
    with torch.no_grad():
        for batch in data.val_dataloader() if split == "val" else data.test_dataloader():
            right += int((classifier(classifier.augment.normalize(batch.images)).argmax(1) == batch.labels).sum())
            total += len(batch.labels)
    return right / total


def test_mean_is_that_of_each_tensor_and_counts_stay() -> None:
    one = {"weight": torch.tensor([1.0, 3.0]), "num_batches_tracked": torch.tensor(7)}
    other = {"weight": torch.tensor([2.0, -1.0]), "num_batches_tracked": torch.tensor(9)}
    found = mean_of([one, other])
    assert found["weight"].tolist() == [1.5, 1.0]
    assert found["num_batches_tracked"] == 7


def test_soup_is_the_greedy_mean_and_is_tested_as_a_run_is(
    train_run: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = train_run("epochs=2", FLOAT32)
    start = [f"weights={first.directory}", "epochs=2", FLOAT32]
    runs = [train_run(*start, f"seed={seed}", f"optimizer.lr={rate}") for seed, rate in ((1, 0.01), (2, 0.003), (3, 2))]
    place = cook([run.directory for run in runs])
    told = capsys.readouterr().out
    states = {run.directory.name: run.checkpoint("best")["state_dict"] for run in runs}
    by_name = {run.directory.name: run for run in runs}
    order = sorted(states, key=lambda name: -by_name[name].record["metrics"]["best/val/accuracy"])
    chosen: list[str] = []
    best = 0.0
    for name in order:  # the paper's recipe, anew
        value = accuracy(mean_of([states[one] for one in (*chosen, name)]), first, "val")
        if value >= best:
            chosen, best = [*chosen, name], value
    soup = FinishedRun(place)
    assert [Path(path).name for path in soup.record["soup"]["runs"]] == chosen
    assert sum(line.startswith("+ ") for line in told.splitlines()) == len(chosen)
    assert soup.record["soup"]["val/accuracy"] == pytest.approx(best)
    expected = mean_of([states[name] for name in chosen])
    found = read_checkpoint(place / "checkpoints" / "best.ckpt")["state_dict"]
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert soup.record["metrics"]["test/accuracy"] == pytest.approx(accuracy(expected, first, "test"))
    assert soup.record["status"] == "finished"
    assert soup.record["choices"] == by_name[chosen[0]].record["choices"]
    assert command_line.resume([str(place)]) == 0
    assert "is finished: nothing to do" in capsys.readouterr().out
    with pytest.raises(ValueError, match="is there already"):
        cook([run.directory for run in runs])
    (place / "run.json").write_text(json.dumps(soup.record | {"status": "interrupted"}), encoding="utf-8")
    assert cook([run.directory for run in runs]) == place
    assert FinishedRun(place).record["metrics"] == soup.record["metrics"]


def test_renewed_batch_norm_has_the_mean_statistics_of_training_batches() -> None:
    config = compose_config("backbone=mlp", "backbone.batch_norm=true", "augment=none", "batch_size=50")
    data = build_data(config)
    classifier = build_classifier(config, data).eval()
    data.setup("fit")
    names = [name for name, module in classifier.named_modules() if isinstance(module, torch.nn.BatchNorm1d)]
    first = classifier.get_submodule(names[0])
    renew_statistics(classifier, data, names)
    assert not any(module.training for module in classifier.modules() if isinstance(module, torch.nn.BatchNorm1d))
    seen: list[torch.Tensor] = []
    first.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    for batch in data.train_dataloader():
        classifier(classifier.augment.normalize(batch.images))
    means, variances = (torch.stack([part(images) for images in seen]).mean(0) for part in (mean, variance))
    assert torch.allclose(first.running_mean, means, atol=1e-5)
    assert torch.allclose(first.running_var, variances, atol=1e-5)


def mean(images: torch.Tensor) -> torch.Tensor:
    return images.mean(0)


def variance(images: torch.Tensor) -> torch.Tensor:
    return images.var(0)


@pytest.mark.parametrize(("value", "words"), [(0.8, ""), (0.7, "is no better than one alone: val/accuracy 0.7000")])
def test_soup_that_is_no_better_than_its_best_run_says_so(
    value: float, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    record = {"metrics": {"best/val/accuracy": 0.7}}
    runs = [Ingredient(Found(name, Path(name), "finished", {}, 0, record=record), {}) for name in ("one", "other")]
    warn_of_no_gain("val/accuracy", runs, value)
    assert words in caplog.text
    assert bool(words) == bool(caplog.text)
    warn_of_no_gain("val/accuracy", runs[:1], 0.7)
    assert "no other run made the mean better: the soup is one alone" in caplog.text


def test_soup_is_begun_from_as_a_run_is(
    train_run: Train, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [train_run("epochs=1", FLOAT32, f"seed={seed}") for seed in (0, 1)]
    place = cook([run.directory for run in runs])
    assert "the runs did not all begin with the same weights" in caplog.text
    assert f"train weights={os.path.relpath(place)}" in capsys.readouterr().out
    assert train_run("epochs=1", f"weights={place}").record["transfer"]["head"] == "kept"
    collection = collect([*(run.directory for run in runs), place])  # it is no other run of the best one's setting
    assert [run.factors["soup"] for run in collection.runs] == [False, False, True]
    card = card_of(Trained(place))
    num_chosen = len(FinishedRun(place).record["soup"]["runs"])
    assert f"with the weights of the mean of {num_chosen} runs (val/accuracy " in card
    assert f"$ leyden soup {runs[0].directory.parent}" in card


def test_what_makes_no_soup_is_refused(
    train_run: Train, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*runs: FinishedRun) -> str:
        assert command_line.soup([str(run.directory) for run in runs]) == 1
        return capsys.readouterr().err

    one = train_run("epochs=1")
    assert "is one finished run: a soup takes two or more" in refused(one)
    assert "differ in backbone (" in refused(one, train_run("epochs=1", "backbone.width=32"))
    other_split = train_run("epochs=1", "data.split_seed=1")
    assert "differ in data.split_seed (0, 1): a soup takes runs of one network and one split" in refused(
        one, other_split
    )
    of_ema = [train_run("epochs=1", "callbacks.ema.decay=0.9", "monitor=val/ema_accuracy", f"seed={n}") for n in (0, 1)]
    assert "is of averaged weights, and a soup averages those that training has" in refused(*of_ema)
    lora = [train_run("epochs=1", "finetune=lora", f"seed={seed}") for seed in (0, 1)]
    assert "means of factors make no mean of products" in refused(*lora)
    two = [one, train_run("epochs=1", "seed=1")]
    path = two[1].directory / "run.json"
    told = path.read_text(encoding="utf-8")
    record = json.loads(told)
    record["data"]["layout"] = "0" * 64
    path.write_text(json.dumps(record), encoding="utf-8")
    assert "have other images: a soup takes runs of one split" in refused(*two)
    path.write_text(told, encoding="utf-8")
    place = cook([run.directory for run in two])
    assert f"{place} is there already: move it or delete it" in refused(*two)
    assert "no finished run is given but soups: a soup takes two or more" in refused(FinishedRun(place))
    assert f"{one.directory} is one finished run" in refused(one, FinishedRun(place))
    assert f"{place} is left out: it is a soup, whose runs would count twice" in caplog.text
