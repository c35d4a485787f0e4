"""A sweep's YAML says what the study varies, in keys that W&B documents, and its trials run."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from wandb.sdk.launch.sweeps import utils as library

from leyden import command_line
from leyden.config import CONFIG_DIRECTORY
from leyden.dashboard.sweep import configuration, wish_of_preset, write_sweep
from running import SHORT
from studies import Study

PRESETS = sorted(path.stem for path in (CONFIG_DIRECTORY / "study").glob("*.yaml"))
KEYS = {"name", "program", "command", "method", "metric", "parameters", "run_cap"}  # those of its documentation we use
DISTRIBUTIONS = {
    frozenset({"values"}), frozenset({"distribution", "min", "max"}), frozenset({"distribution", "min", "max", "q"}),
}  # fmt: skip


def check(settings: dict[str, Any]) -> None:
    """Holds a sweep against what https://docs.wandb.ai/models/sweeps/sweep-config-keys says; no schema is installed."""
    assert set(settings) <= KEYS
    assert settings["method"] in ("grid", "random", "bayes")
    assert settings["metric"].keys() == {"name", "goal"}
    assert settings["metric"]["goal"] in ("minimize", "maximize")
    assert settings["parameters"]
    for parameter in settings["parameters"].values():
        assert frozenset(parameter) in DISTRIBUTIONS
        assert settings["method"] != "grid" or parameter.keys() == {"values"}
        assert all(isinstance(value, int | float | str) for value in parameter.get("values", []))
        assert parameter.get("distribution", "uniform") in (
            "uniform", "int_uniform", "log_uniform_values", "q_log_uniform_values",
        )  # fmt: skip


def words_of(settings: dict[str, Any], values: dict[str, Any]) -> list[str]:
    """The command that W&B's agent makes for a trial, by its own functions, behind `/usr/bin/env leyden`."""
    made = library.create_sweep_command_args({"args": {key: {"value": value} for key, value in values.items()}})
    made |= {"env": ["/usr/bin/env"], "program": [settings["program"]]}
    command = library.create_sweep_command(settings["command"])
    words = [word for part in command for word in made.get(part[2:-1], [part])]
    assert words[:3] == ["/usr/bin/env", "leyden", "train"]
    return words[3:]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_makes_a_sweep_in_the_keys_of_its_documentation(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_sweep(f"study={preset}")
    assert path == Path(f"{preset}_sweep.yaml")
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    check(settings)
    params = yaml.safe_load((CONFIG_DIRECTORY / "study" / f"{preset}.yaml").read_text(encoding="utf-8"))
    assert list(settings["parameters"]) == list(params["hydra"]["sweeper"]["params"])
    assert settings["method"] == "grid"
    assert settings["metric"]["name"] == params.get("monitor", "val/accuracy")
    assert ("by_choice" in path.read_text(encoding="utf-8")) == ("by_choice:" in str(params))


def test_trials_of_a_preset_are_a_study_beside_its_own(study: Study) -> None:
    settings = yaml.safe_load(write_sweep("study=lesson_augmentation").read_text(encoding="utf-8"))
    for augment, labels, seed in (("none", 5, 0), ("affine", 20, 1)):
        words = words_of(settings, {"augment": augment, "data.labels_per_class": labels, "seed": seed})
        assert words[-3:] == [f"augment={augment}", f"data.labels_per_class={labels}", f"seed={seed}"]
        assert command_line.train([*words, *SHORT, "trainer.max_epochs=1"]) == 0, study.capture.readouterr().err
    assert study.directory.name == "lesson_augmentation_sweep"
    assert [(row["augment"], row["data.labels_per_class"], row["seed"]) for row in study.results] == [
        ("none", "5", "0"), ("affine", "20", "1"),
    ]  # fmt: skip
    assert {row["status"] for row in study.results} == {"finished"}


def test_presets_of_ones_own_are_found_where_studies_find_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place, name, values in (("conf", "mine", "0,0.5"), ("conf", "seeds", "0,1"), ("other", "theirs", "0,0.1")):
        (tmp_path / place / "study").mkdir(parents=True, exist_ok=True)
        text = f"# @package _global_\nhydra:\n  sweeper:\n    params:\n      head.dropout: {values}\n"
        (tmp_path / place / "study" / f"{name}.yaml").write_text(text, encoding="utf-8")
    settings = yaml.safe_load(write_sweep("study=mine").read_text(encoding="utf-8"))
    assert settings["parameters"] == {"head.dropout": {"values": [0, 0.5]}}
    assert list(configuration(wish_of_preset(["study=seeds"]))["parameters"]) == ["seed"]  # ours comes first
    given = wish_of_preset(["study=theirs", "--config-dir=other"])
    assert configuration(given)["parameters"] == {"head.dropout": {"values": [0, 0.1]}}
    with pytest.raises(ValueError, match=r"study=min is no preset: did you mean 'mine'\?"):
        wish_of_preset(["study=min"])


def test_sweep_of_a_study_has_its_values_and_its_other_words(study: Study) -> None:
    assert study("head.dropout=0,0.2", "data.labels_per_class=20,null", "study=mine") == 0, study.err
    path = write_sweep(str(study.directory))
    assert path == study.directory / "sweep.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    check(settings)
    assert settings["parameters"] == {
        "head.dropout": {"values": [0, 0.2]}, "data.labels_per_class": {"values": [20, "null"]},
    }  # fmt: skip
    kept = [word for word in SHORT if word != "logger=csv"]
    trial = words_of(settings, {"head.dropout": 0.2, "data.labels_per_class": "null"})
    assert trial == [*kept, "epochs=3", "head.dropout=0.2", "data.labels_per_class=null"]
    text = path.read_text(encoding="utf-8")
    assert "logged with logger=csv, which is left out" in text
    assert "combinations below" not in text


def test_combinations_that_a_study_left_out_are_told(study: Study) -> None:
    assert study("head.dropout=0,0.2", "epochs=1", "study=mine") == 0, study.err
    assert study("head.dropout=0.5", "backbone.width=8,16", "epochs=1", "study=mine", "mixed=true") == 0, study.err
    text = write_sweep(str(study.directory)).read_text(encoding="utf-8").replace("\n# ", " ")
    assert "of the 6 combinations below: a sweep has no conditions" in text
    assert yaml.safe_load(write_sweep(str(study.directory)).read_text())["parameters"]["head.dropout"]["values"] == [
        0, 0.2, 0.5,
    ]  # fmt: skip


def test_search_is_mapped_to_distributions(tmp_path: Path) -> None:
    wish = wish_of_preset(
        ["study=seeds", *shlex.split(
            "hydra/sweeper=optuna hydra.sweeper.n_trials=20 hydra.sweeper.pruner=median seed=0,1 "
            "'optimizer.lr=tag(log,interval(1e-4,1e-1))' 'batch_size=range(16,64,16)' 'head.dropout=interval(0,0.5)' "
            "'backbone.width=tag(log,int(interval(8,64)))' 'epochs=int(interval(2,5))'"
        )]
    )  # fmt: skip
    settings = configuration(wish)
    check(settings)
    assert (settings["method"], settings["run_cap"]) == ("bayes", 20)
    assert settings["parameters"] == {
        "seed": {"values": [0, 1]},
        "optimizer.lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 0.1},
        "batch_size": {"values": [16, 32, 48]},
        "head.dropout": {"distribution": "uniform", "min": 0.0, "max": 0.5},
        "backbone.width": {"distribution": "q_log_uniform_values", "q": 1, "min": 8, "max": 64},
        "epochs": {"distribution": "int_uniform", "min": 2, "max": 5},
    }
    assert "The study's pruner, median, is left out" in wish.notes[0]


def test_grid_of_a_search_has_values_alone() -> None:
    words = ["hydra/sweeper=optuna", "hydra.sweeper.sampler=grid"]
    words += ["seed=0,1", "epochs=range(2,5)", "batch_size=tag(log,int(interval(2,4)))"]
    settings = configuration(wish_of_preset(["study=seeds", *words]))
    check(settings)
    assert settings["method"] == "grid"
    assert settings["parameters"] == {
        "seed": {"values": [0, 1]}, "epochs": {"values": [2, 3, 4]}, "batch_size": {"values": [2, 3, 4]},
    }  # fmt: skip


def test_what_a_sweep_cannot_say_is_refused() -> None:
    words = ["study=seeds", "hydra/sweeper=optuna", "hydra.sweeper.objectives=[val/accuracy,seconds]"]
    with pytest.raises(ValueError, match="objectives val/accuracy, seconds, and a W&B sweep has one metric"):
        configuration(wish_of_preset(words))
    words = ["study=seeds", "hydra/sweeper=optuna", "hydra.sweeper.objectives=[seconds]"]
    with pytest.raises(ValueError, match="objective seconds, which runs do not log"):
        configuration(wish_of_preset(words))
    with pytest.raises(ValueError, match=r"study=optimizer is no preset: did you mean 'optimizers'\?"):
        wish_of_preset(["study=optimizer"])
    with pytest.raises(ValueError, match="varies nothing that a sweep could choose"):
        configuration(wish_of_preset(["study=seeds", "seed=3"]))
