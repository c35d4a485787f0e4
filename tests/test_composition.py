"""Hydra, asked in our words: which words it gets, and how a study gets its name."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from leyden import command_line
from leyden.composition import is_override, see_own_parts, warn_of_hidden_files
from leyden.config import CONFIG_DIRECTORY, compose


@pytest.mark.parametrize(
    ("word", "expected"),
    [("seed=1", True), ("+a.b=c", True), ("~callbacks.ema", True), ("-m", False), ("--cfg=job", False), ("job", False)],
)
def test_a_word_with_a_value_is_an_override(word: str, expected: bool) -> None:
    assert is_override(word) is expected


def test_own_parts_are_found_where_the_command_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", ["/elsewhere"])
    monkeypatch.chdir(tmp_path)
    see_own_parts()
    see_own_parts()
    import sys

    assert sys.path == ["", str(tmp_path), "/elsewhere"]  # the second for when it works somewhere else


def test_conf_where_the_command_is_typed_is_searched_after_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "head").mkdir(parents=True)
    (tmp_path / "conf" / "head" / "mine.yaml").write_text("_target_: my_parts.Head\n", encoding="utf-8")
    (tmp_path / "conf" / "head" / "linear.yaml").write_text("_target_: my_parts.Linear\n", encoding="utf-8")
    assert compose(["head=mine"]).head == {"_target_": "my_parts.Head"}
    assert compose(["head=linear"]).head["_target_"] == "leyden.heads.LinearHead"


def test_file_that_ours_hides_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "head").mkdir(parents=True)
    ours = (CONFIG_DIRECTORY / "head" / "linear.yaml").read_text(encoding="utf-8")
    for name in ("mine", "linear"):
        (tmp_path / "conf" / "head" / f"{name}.yaml").write_text(ours, encoding="utf-8")
    warn_of_hidden_files([])
    assert not caplog.messages  # the same is not missed
    (tmp_path / "conf" / "head" / "linear.yaml").write_text(ours + "dropout: 0.5\n", encoding="utf-8")
    warn_of_hidden_files([])
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"{tmp_path / 'conf' / 'head' / 'linear.yaml'} is not read")


def test_recipe_of_ones_own_is_guarded_as_ours_are(
    leyden: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    file = tmp_path / "conf" / "experiment" / "mine.yaml"
    file.write_text("# @package _global_\nepchs: 3\n", encoding="utf-8")
    done = leyden("train", "experiment=mine")
    assert f"unknown key 'epchs' (file {file}): did you mean 'epochs'?" in done.stderr
    assert "did you mean 'mine'?" in leyden("train", "experiment=mina").stderr
    assert "experiment: digits, elpv_finetune" in (told := leyden("train", "--help").stdout)
    assert ", mine\n" in told


def test_study_is_called_after_all_keys_that_it_varies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those inside a group that is varied too, which Hydra itself does not get to see."""
    monkeypatch.chdir(tmp_path)
    words = ["optimizer=sgd,adam", "optimizer.weight_decay=0,0.1", "seed=0,1", "plan=true", "name=digits"]
    assert command_line.train(["-m", *words]) == 0
    assert "runs/digits/optimizer_seed_weight_decay" in capsys.readouterr().out
