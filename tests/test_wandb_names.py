"""Names at W&B are such as its panels find, and addresses are read whatever server they are of."""

from pathlib import Path

import pytest

from leyden.wandb_names import check_key, place_of, plain_factors


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
