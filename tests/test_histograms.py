"""Histograms hold what counting one by one finds, of each layer of a run that asks for them."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from leyden.histograms import NUM_BINS, read_histograms, read_of_row, write_histograms
from running import FinishedRun


def test_every_value_is_in_its_bin(tmp_path: Path) -> None:
    tensors = [torch.randn(7, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([-4.0, 4.0])]
    write_histograms(tmp_path, 100, {"head/weights": tensors})
    ((name, (counts, edges)),) = read_histograms(tmp_path, 100).items()
    assert name == "histograms/head/weights"
    values = [value for tensor in tensors for value in tensor.flatten().tolist()]
    assert edges.tolist() == pytest.approx([-4 + 8 * edge / NUM_BINS for edge in range(NUM_BINS + 1)])
    places = [min(int((value + 4) / 8 * NUM_BINS), NUM_BINS - 1) for value in values]
    assert counts.tolist() == [places.count(place) for place in range(NUM_BINS)]


def test_values_a_hair_apart_have_one_too(tmp_path: Path) -> None:
    write_histograms(tmp_path, 1, {"head/weights": [torch.tensor([1.0, 1.0000001])]})
    ((counts, _),) = read_histograms(tmp_path, 1).values()
    assert counts.sum() == 2


def test_values_that_are_not_finite_have_none(tmp_path: Path) -> None:
    values = {"head/weights": [torch.ones(3)], "head/gradients": [torch.tensor([1.0, math.nan])]}
    write_histograms(tmp_path, 1, values)
    (only,) = read_histograms(tmp_path, 1)
    assert only == "histograms/head/weights"


def test_rows_that_tell_of_layers_have_those_of_their_step(tmp_path: Path) -> None:
    write_histograms(tmp_path, 5, {"head/weights": [torch.ones(3)]})
    assert read_of_row(tmp_path, {"step": 5, "layers/head/weight_norm": 1.0}).keys() == {"histograms/head/weights"}
    assert read_of_row(tmp_path, {"step": 5, "val/loss": 1.0}) == {}
    assert read_of_row(tmp_path, {"step": 6, "layers/head/weight_norm": 1.0}) == {}


def test_those_of_a_run_are_of_its_weights(train_run: Callable[..., FinishedRun]) -> None:
    still = ["optimizer.lr=1e-30", "optimizer.weight_decay=0", "schedule=constant", "epochs=1"]
    run = train_run(*still, "callbacks.layers.every_n_steps=5", "callbacks.layers.histograms=true")
    state = run.checkpoint()["state_dict"]
    found = read_histograms(run.directory, 10)
    layers = {"layers_1": "backbone.layers.1", "layers_3": "backbone.layers.3", "head": "head"}
    assert found.keys() == {f"histograms/{layer}/{of}" for layer in layers for of in ("weights", "gradients")}
    for layer, path in layers.items():
        values = torch.cat([value.flatten() for name, value in state.items() if name.startswith(f"{path}.")])
        counts, edges = found[f"histograms/{layer}/weights"]
        assert counts.sum() == len(values)
        assert (edges[0], edges[-1]) == pytest.approx((float(values.min()), float(values.max())))
