"""Keys against values that were worked out without them."""

import math

import pytest
from scipy.stats import t

from leyden.quiz.keys import KEYS

BY_HAND = {
    "mlp_parameters": 65 * 64 + 65 * 64 + 65 * 10,
    "node_output": 0.5,
    "field_of_three": 7,
    "field_after_pooling": 8,
    "softmax_of_first": math.e**2 / (math.e**2 + math.e + 1),
    "steps_of_training": 1169 // 64 * 20,
    "loss_of_a_guess": math.log(10),
    "place_after_ten_steps": 3 * (1 - 0.8**10),
    "slope_of_right_logit": math.e**2 / (math.e**2 + math.e + 1) - 1,
    "smallest_unstable_rate": 2 / 4,
    "first_step_of_adam": 0.001,
    "hundredth_step_of_adagrad": 0.1 / 100**0.5,
    "first_step_of_rmsprop": 0.01 / (1 - 0.99) ** 0.5,
    "terminal_step_of_momentum": 0.01 / (1 - 0.9),
    "numbers_that_adam_keeps": 2 * 8970,
    "hundredth_step_on_a_swing": 0.1 / 1.9,
    "parameters_for_each_label": (65 * 512 + 513 * 512 + 513 * 10) / 100,
    "kept_by_dropout": 1 / 0.8,
    "weight_after_sgd_decay": 1 - 0.1 * 0.01,
    "weight_after_adamw": (1 - 0.001 * 0.05) ** 1000,
    "weight_after_adam_l2": 1 - 0.001,
    "labelled_images": 250,
    "views_of_a_square": 8,
    "places_of_a_crop": 81,
    "parameters_of_a_probe": 2 * 1281,
    "runs_of_a_grid": 36,
    "half_of_an_interval": 2 * t.ppf(0.975, 2) / 3**0.5,
    "error_of_an_accuracy": 100 * (0.09 / 359) ** 0.5,
    "best_of_ten": 1.53875,  # Tippett 1925
    "chance_of_a_false_alarm": 100 * (1 - 0.95**20),
    "seeds_enough": 10,
}


@pytest.mark.parametrize("name", KEYS)
def test_key_is_what_one_works_out_by_hand(name: str) -> None:
    assert KEYS[name]() == pytest.approx(BY_HAND[name], rel=1e-5)
