"""The config check: every kind of mistake is met before anything is built, each by one line that names it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from leyden.check import check
from leyden.config import CONFIG_DIRECTORY, Origin
from leyden.errors import explain
from running import compose_config


def mistake(*overrides: str, directory: Path = CONFIG_DIRECTORY) -> str:
    """The one line that a user gets for a command line that is wrong."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - Hydra's and ours alike
        check(compose_config(*overrides, directory=directory), Origin(overrides))
    return explain(caught.value, overrides)


MISTAKES = {
    "misspelt root key": (["epchs=3"], ["epchs", "did you mean 'epochs'?"]),
    "misspelt root key, added": (["+epchs=3"], ["epchs", "+epchs=3", "did you mean 'epochs'?"]),
    "misspelt root key, forced": (["++epchs=3"], ["epchs", "++epchs=3", "did you mean 'epochs'?"]),
    "misspelt key of a group": (["optimizer.weight_dcay=1"], ["optimizer.weight_dcay", "did you mean 'weight_decay'?"]),
    "misspelt key of a group, added": (["+optimizer.beta=1"], ["optimizer.beta", "did you mean 'betas'?"]),
    "unknown option of a group": (["optimizer=adma"], ["optimizer=adma", "did you mean 'adam"]),
    "unknown group": (["optimiser=adam"], ["optimiser", "did you mean 'optimizer'?"]),
    "unknown class": (["optimizer._target_=torch.optim.Adma"], ["torch.optim", "Adma", "did you mean 'Adam"]),
    "unknown module": (["backbone._target_=leiden.backbones.MLP"], ["leiden", "backbone._target_"]),
    "wrong type at the root": (["epochs=ten"], ["epochs=ten", "Integer"]),
    "text for a number": (["optimizer.lr=fast"], ["optimizer.lr=fast", "expected a number"]),
    "value out of range": (["batch_size=0"], ["batch_size=0", "from 1"]),
    "key that is not the user's": (
        ["+trainer.enable_progress_bar=true"],
        ["trainer.enable_progress_bar", "leave it out"],
    ),
    "fields that contradict": (["trainer=ddp", "batch_size=3"], ["batch_size=3", "trainer.devices=2"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_each_kind_of_mistake_gets_one_line_that_names_it(name: str) -> None:
    overrides, expected = MISTAKES[name]
    line = mistake(*overrides)
    assert "\n" not in line
    for words in expected:
        assert words in line


OUT_OF_RANGE = {
    "trainer.limit_train_batches=0": "above 0, or null",
    "trainer.accumulate_grad_batches=-1": "give 1 or more",
    "trainer.check_val_every_n_epoch=30": "more than the 20 epochs",
    "trainer.gradient_clip_val=-1": "above 0, or null",
    "trainer.log_every_n_steps=null": "trainer.log_every_n_steps=null",
    "trainer.max_epochs=null": "would not end",
    "seed=5000000000": "out of range",
    "name=..": "expected a name",
    "head.dropout=null": "expected a number",
    "head.dropout=[0.1]": "expected a number",
    "backbone.widths=32": "a list",
    "backbone.widths=[8.5,16]": "each item a whole number",
    "optimizer.betas=[0.9]": "a list of 2",
    "optimizer.lr=true": "expected a number",
    "data.labels_per_class=2.5": "a whole number",
    "callbacks.ema.decay=null": "expected a number",
}


@pytest.mark.parametrize("override", OUT_OF_RANGE)
def test_value_of_a_wrong_kind_or_size_is_named(override: str) -> None:
    line = mistake(override)
    assert override.split("=")[0] in line
    assert OUT_OF_RANGE[override] in line


NAMELESS_PARTS = {
    "misspelt callback": (["+callbacks.early_stoping.patience=3"], "did you mean 'early_stopping'?"),
    "misspelt callback, not added": (["callbacks.early_stoping.patience=3"], "did you mean 'early_stopping'?"),
    "misspelt operation": (["augment=flip_crop", "+augment.operations.crp.padding=2"], "did you mean 'crop'?"),
    "mix without a class": (["augment.mix={mixup: 0.2}"], "augment.mix"),
    "key of no logger": (["logger=csv", "+logger.project=mine"], "logger=wandb"),
    "group of nothing": (["callbacks=null"], "cannot be null"),
}


@pytest.mark.parametrize("name", NAMELESS_PARTS)
def test_part_that_names_no_class_is_refused(name: str) -> None:
    overrides, expected = NAMELESS_PARTS[name]
    assert expected in mistake(*overrides)


RECIPE_MISTAKES = {
    "root": ("epchs: 3", ["epchs", "experiment/wrong.yaml", "did you mean 'epochs'?"]),
    "group": ("optimizer: {weight_dcay: 1}", ["weight_dcay", "experiment/wrong.yaml", "did you mean 'weight_decay'?"]),
    "callback": ("callbacks: {ema: {dekay: 1}}", ["dekay", "experiment/wrong.yaml", "did you mean 'decay'?"]),
}


@pytest.mark.parametrize("name", RECIPE_MISTAKES)
def test_misspelt_key_of_a_recipe_is_named_with_its_file(
    name: str, tmp_path: Path, leyden: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    text, expected = RECIPE_MISTAKES[name]
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "wrong.yaml").write_text(f"# @package _global_\n{text}\n")
    done = leyden("train", "--config-dir", "conf", "experiment=wrong")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    for words in expected:
        assert words in done.stderr


def test_default_config_passes() -> None:
    check(compose_config())


@pytest.mark.parametrize(
    "overrides",
    [["seed=-1"], ["epochs=0"], ["steps=0"], ["epochs=null"], ["name=a/b"], ["optimizer.lr="], ["compile=perhaps"]],
)
def test_root_values_out_of_range_are_refused(overrides: list[str]) -> None:
    assert overrides[0].split("=")[0] in mistake(*overrides)


def test_missing_required_argument_is_named() -> None:
    assert "backbone.name has no value" in mistake("backbone=timm", "~backbone.name")


def test_group_taken_away_is_named() -> None:
    assert "optimizer has no _target_" in mistake("~optimizer")


def test_class_of_a_user_is_held_against_its_own_signature(tmp_path: Path) -> None:
    (tmp_path / "loss").mkdir()
    for name, key in {"right": "gamma", "wrong": "gama"}.items():
        text = f"_target_: leyden.losses.Focal\n{key}: 3.0\n"
        (tmp_path / "loss" / f"{name}.yaml").write_text(text)
    search = f"hydra.searchpath=[file://{tmp_path}]"
    check(compose_config(search, "loss=right"))
    assert "did you mean 'gamma'?" in mistake(search, "loss=wrong")


def test_word_in_place_of_a_list_is_shown_as_one() -> None:
    with pytest.raises(ValueError, match=r"finetune\.targets=qkv.*: expected a list, as in finetune\.targets=\[qkv\]"):
        check(compose_config("finetune=lora", "finetune.targets=qkv"))
