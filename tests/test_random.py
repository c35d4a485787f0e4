"""Randomness: a draw is a function of its position, evenly spread, and independent of its neighbours."""

import numpy as np
import torch
from scipy import stats

from leyden.random import MASK, mix_seed, seed_generators, uniform


def splitmix64(state: int) -> int:
    """The published reference of the generator's step (Steele et al. 2014), on plain integers."""
    state = (state + 0x9E3779B97F4A7C15) & MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def test_seeds_follow_the_published_generator() -> None:
    assert mix_seed(0) == splitmix64(0) >> 1
    assert splitmix64(0) == 0xE220A8397B1DCDAF  # the first number that the reference prints for seed 0
    assert mix_seed(3, 4) == splitmix64((splitmix64(3) + 4) & MASK) >> 1


def test_tensor_draws_equal_the_integer_arithmetic() -> None:
    key, indices = 12345, torch.tensor([0, 1, 7, 59_999])

    def mixed(value: int) -> int:
        return splitmix64((value - 0x9E3779B97F4A7C15) & MASK)

    for row, index in zip(uniform(key, indices, 3), indices.tolist(), strict=True):
        base = mixed((index * 0xBF58476D1CE4E5B9 + key) & MASK)
        expected = [(mixed((base + draw * 0x9E3779B97F4A7C15) & MASK) >> 40) / 2**24 for draw in (1, 2, 3)]
        assert row.tolist() == expected


def test_draws_are_uniform_and_uncorrelated() -> None:
    draws = uniform(mix_seed(0, 0, 1), torch.arange(100_000), 4).double().numpy()
    assert draws.min() >= 0
    assert draws.max() < 1
    for column in draws.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    neighbours = np.hstack([draws, np.roll(draws, 1, axis=0)])
    correlations = np.corrcoef(neighbours.T) - np.eye(8)
    assert np.abs(correlations).max() < 0.015  # 4.7 standard errors


def test_nearby_keys_give_unrelated_draws() -> None:
    indices = torch.arange(100_000)
    for first, second in [((0, 0), (0, 1)), ((0, 0), (1, 0)), ((1, 2), (2, 1))]:
        pair = torch.stack([uniform(mix_seed(*numbers), indices, 1)[:, 0] for numbers in (first, second)])
        assert torch.corrcoef(pair)[0, 1].abs() < 0.015


def test_draw_of_an_index_does_not_depend_on_the_others() -> None:
    together = uniform(7, torch.tensor([5, 9, 11]), 2)
    assert torch.equal(together[1:2], uniform(7, torch.tensor([9]), 2))


def test_generator_seeding_is_that_of_torch() -> None:
    seed_generators(42, torch.device("cpu"))
    ours = torch.rand(5)
    torch.manual_seed(42)
    assert torch.equal(ours, torch.rand(5))
