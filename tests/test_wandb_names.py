"""Keys of factors at W&B are such as every panel finds."""

from leyden.wandb_names import plain_factors


def test_no_key_of_a_factor_has_a_dot() -> None:
    factors = {"optimizer": "adam", "optimizer.lr": 0.01, "data.labels_per_class": None}
    assert plain_factors(factors) == {"optimizer": "adam", "optimizer_lr": 0.01, "data_labels_per_class": None}
