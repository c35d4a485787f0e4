"""Norms of layers are those that plain loops find in the same run, and looking at them changes nothing."""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from leyden import command_line
from leyden.callbacks import Layers
from leyden.callbacks.layers import LoggedStep
from leyden.metric_names import is_of_one_layer
from running import FinishedRun, content, differences

Train = Callable[..., FinishedRun]
EVERY_FIFTH = "callbacks.layers.every_n_steps=5"
# One number after the other in double precision; hooks of callbacks come before those of the classifier.
WITNESS = """
import pytorch_lightning as pl

PARTS = {"layers_1": "backbone.layers.1.", "layers_3": "backbone.layers.3.", "head": "head."}
seen = {}


def norm(tensors):
    return sum(value * value for tensor in tensors for value in tensor.double().flatten().tolist()) ** 0.5


class Witness(pl.Callback):
    old = {}  # until the first step is taken

    def on_before_optimizer_step(self, trainer, module, optimizer):
        self.old = {}
        for layer, prefix in PARTS.items():
            mine = [p for name, p in module.named_parameters() if name.startswith(prefix) and p.grad is not None]
            if mine:
                self.old[layer] = mine, [p.detach().clone() for p in mine], norm(p.grad for p in mine)

    def on_train_batch_end(self, trainer, module, *_):
        for layer, (mine, before, gradient) in self.old.items():
            moved = norm(p.detach().double() - b.double() for p, b in zip(mine, before))
            seen[trainer.global_step, layer] = norm(before), gradient, moved / norm(before)
        self.old = {}
"""


@pytest.fixture
def witness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "witness.py").write_text(WITNESS, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "witness", raising=False)
    return "+callbacks.witness={_target_: witness.Witness}"


@pytest.mark.parametrize(
    "way",
    [
        ["optimizer=adamw", "trainer.gradient_clip_val=0.1", "trainer.precision=32"],
        ["optimizer=sgd", "trainer.accumulate_grad_batches=4", "trainer.precision=bf16-mixed"],
        ["finetune=gradual", "finetune.num_stages=2", "trainer.precision=32"],
    ],
    ids=["clipped", "accumulated in half precision", "frozen at first"],
)
def test_norms_are_those_of_a_plain_loop(way: list[str], witness: str, train_run: Train) -> None:
    run = train_run(*way, witness, EVERY_FIFTH, "batch_size=128", "pictures=false")
    import witness as told  # type: ignore[import-not-found]

    found = {}
    for row in run.rows:
        for layer in ("layers_1", "layers_3", "head"):
            values = [row.get(f"layers/{layer}/{name}") for name in ("weight_norm", "gradient_norm", "update_ratio")]
            if any(values):
                found[int(row["step"]), layer] = [float(value or "nan") for value in values]
    expected = {key: values for key, values in told.seen.items() if key[0] % 5 == 0}
    assert found.keys() == expected.keys()
    assert len(found) >= 3
    for key, values in expected.items():
        assert found[key] == pytest.approx(values, rel=1e-4), key


def test_update_of_plain_gradient_descent_is_rate_times_gradient(train_run: Train) -> None:
    plain = ["optimizer=sgd", "optimizer.momentum=0", "optimizer.nesterov=false", "optimizer.weight_decay=0"]
    run = train_run(*plain, "optimizer.lr=0.03", "schedule=constant", "trainer.precision=32", EVERY_FIFTH)
    rows = [row for row in run.rows if row.get("layers/head/update_ratio")]
    assert [int(row["step"]) for row in rows] == [5, 10, 15, 20, 25, 30, 35]
    for row in rows:
        for layer in ("layers_1", "layers_3", "head"):
            weight, gradient, ratio = (
                float(row[f"layers/{layer}/{name}"]) for name in ("weight_norm", "gradient_norm", "update_ratio")
            )
            assert ratio == pytest.approx(0.03 * gradient / weight, rel=1e-3)


def test_norms_of_layers_make_that_of_all_gradients(train_run: Train) -> None:
    run = train_run("callbacks.layers.every_n_steps=1", "trainer.log_every_n_steps=1", "epochs=1")
    rows = [row for row in run.rows if row.get("gradient_norm")]
    assert len(rows) == 18
    for row in rows:
        parts = [float(row[f"layers/{layer}/gradient_norm"]) for layer in ("layers_1", "layers_3", "head")]
        assert math.hypot(*parts) == pytest.approx(float(row["gradient_norm"]), rel=1e-5)


def test_looking_changes_no_bit(train_run: Train) -> None:
    settings = ["augment=flip_crop", "head.dropout=0.2", "callbacks.ema.decay=0.9"]
    plain = train_run(*settings, "callbacks.layers.every_n_steps=null")
    looked = train_run(*settings, "callbacks.layers.every_n_steps=1", "callbacks.layers.histograms=true")
    for name in ("state_dict", "optimizer_states", "lr_schedulers", "callbacks"):
        assert content(plain.checkpoint()[name]) == content(looked.checkpoint()[name])
    rows = [{key: value for key, value in row.items() if not is_of_one_layer(key)} for row in looked.rows]
    assert [row for row in rows if len([value for value in row.values() if value]) > 2] == plain.rows
    assert not any(is_of_one_layer(name) for name in plain.rows[0])


def test_killed_and_resumed_has_the_same_rows_and_histograms(
    train_run: Train, interrupted: Callable[..., FinishedRun]
) -> None:
    settings = ["callbacks.layers.every_n_steps=3", "callbacks.layers.histograms=true", "trainer.log_every_n_steps=4"]
    whole = train_run(*settings)
    run = interrupted(
        *settings, "callbacks.checkpoints.every_n_steps=7", hook="on_train_batch_end", count=13, kill=True
    )
    assert command_line.resume([str(run.directory)]) == 0
    assert differences(whole, run) == []
    files = sorted(path.name for path in (whole.directory / "histograms").iterdir())
    assert files == [f"{step:08}.npz" for step in range(3, 37, 3)]
    for name in files:
        assert all((one.directory / "histograms" / name).is_file() for one in (whole, run))
        assert (whole.directory / "histograms" / name).read_bytes() == (
            run.directory / "histograms" / name
        ).read_bytes()


def test_what_is_no_number_is_left_out() -> None:
    """A new head of zeros has nothing to divide by; the scaler skips a step whose gradients overflowed."""
    zero, overflowed = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.ones(4))
    zero.grad, overflowed.grad = torch.ones(3), torch.full((4,), math.inf)
    step = LoggedStep({"zero": [zero], "overflowed": [overflowed]})
    with torch.no_grad():
        zero.sub_(0.1)
    assert step.finish() == {
        "layers/zero/weight_norm": 0.0,
        "layers/zero/gradient_norm": pytest.approx(3**0.5),
        "layers/overflowed/weight_norm": 2.0,
        "layers/overflowed/update_ratio": 0.0,
    }


def test_scaled_gradients_are_told_unscaled() -> None:
    parameter = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(parameter.square().sum() / 2).backward()
    scaler.unscale_(optimizer)  # as Lightning does before the hook
    step = LoggedStep({"only": [parameter]})
    scaler.step(optimizer)
    assert step.finish() == {
        "layers/only/weight_norm": 5.0, "layers/only/gradient_norm": 5.0, "layers/only/update_ratio": 0.5,
    }  # fmt: skip


def test_interval_below_one_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"callbacks\.layers\.every_n_steps=0 is out of range: give 1 or more, or null"
    ):
        Layers(0)
