"""Names at W&B are such as panels find, addresses are read whatever server they are of, its environment is heard."""

from pathlib import Path

import pytest

from leyden.loggers import WandbLogger
from leyden.run import RunRecord, read_record
from leyden.wandb_names import MOST_LETTERS, check_key, group_of, has_key, place_of, plain_factors
from running import compose_config
from written_studies import write_study


def test_no_key_of_a_factor_has_a_dot() -> None:
    factors = {"optimizer": "adam", "optimizer.lr": 0.01, "data.labels_per_class": None}
    assert plain_factors(factors) == {"optimizer": "adam", "optimizer_lr": 0.01, "data_labels_per_class": None}


@pytest.mark.parametrize("server", ["https://wandb.ai", "https://forge.coreweave.com/wandb", "http://127.0.0.1:8080"])
def test_entity_and_project_are_read_from_the_address_of_any_server(server: str) -> None:
    assert place_of(f"{server}/me/solar%20cells/runs/0123") == ("me", "solar cells")


def test_a_missing_key_is_told_with_what_else_can_be_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(ValueError, match=r"no key for https://\S+: run `wandb login` or set WANDB_API_KEY, or go$"):
        check_key(", or go")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    check_key()


def test_studies_of_one_name_are_groups_of_their_own(tmp_path: Path) -> None:
    groups = []
    for name in ("digits_cnn", "digits_mlp"):
        study = write_study(tmp_path / name / "optimizers", {"optimizer": ["sgd", "adam"]}, lambda optimizer: 0.9)
        groups.append(WandbLogger(next(study.glob("*/"))).settings["group"])
        assert groups[-1] == group_of(study, "optimizers")
    assert groups == ["digits_cnn optimizers", "digits_mlp optimizers"]


def test_names_are_no_longer_than_wandb_takes(tmp_path: Path) -> None:
    assert len(group_of(tmp_path / "study", "long" * 60)) == MOST_LETTERS
    assert len(WandbLogger(tmp_path, name="long" * 60).settings["name"]) == MOST_LETTERS


def test_wandbs_own_environment_says_where_runs_go(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    place = compose_config("logger=wandb").logger
    assert (place.project, place.entity) == ("leyden", None)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.setenv("WANDB_ENTITY", "we")
    place = compose_config("logger=wandb").logger
    assert (place.project, place.entity) == ("mine", "we")
    assert compose_config("logger=wandb", "logger.project=other").logger.project == "other"


def test_a_trial_of_wandbs_agent_has_the_id_that_the_agent_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "trial7")
    for sweep, is_its_own in (("", False), ("sweep1", True)):
        monkeypatch.setenv("WANDB_SWEEP_ID", sweep)
        with RunRecord(tmp_path / f"run{sweep}", []):
            pass
        assert (read_record(tmp_path / f"run{sweep}")["run_id"] == "trial7") == is_its_own


def test_a_user_without_a_home_has_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "NETRC"):
        monkeypatch.delenv(name, raising=False)

    def unknown(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", unknown)
    assert not has_key()
