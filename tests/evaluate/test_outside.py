"""How well a score tells two data sets apart, against scikit-learn, SciPy and resampling."""

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score

from leyden.evaluate.outside import auroc, scores_of


@pytest.mark.parametrize("decimals", [1, 8])  # with many equal scores, and with none
def test_area_is_that_of_scikit_learn_and_of_the_rank_test(decimals: int) -> None:
    generator = np.random.default_rng(0)
    inside, outside = generator.normal(1, 1, 80).round(decimals), generator.normal(0, 1, 50).round(decimals)
    area, (low, high) = auroc(inside, outside)
    labels = [1] * 80 + [0] * 50
    assert area == pytest.approx(roc_auc_score(labels, np.concatenate([inside, outside])))
    assert area == pytest.approx(mannwhitneyu(inside, outside).statistic / (80 * 50))
    assert low < area < high


def test_interval_is_as_wide_as_resampling_says() -> None:
    generator = np.random.default_rng(1)
    inside, outside = generator.normal(1, 1, 120), generator.normal(0, 1, 90)
    again = [auroc(generator.choice(inside, 120), generator.choice(outside, 90))[0] for _ in range(1000)]
    np.testing.assert_allclose(auroc(inside, outside)[1], np.percentile(again, [2.5, 97.5]), atol=0.015)


def test_sets_that_are_wholly_apart_have_an_interval_that_is_no_point() -> None:
    area, (low, high) = auroc(np.arange(5.0) + 10, np.arange(4.0))
    assert area == 1
    assert low == pytest.approx(0.5101, abs=1e-4)  # Wilson's, of four out of four
    assert high == pytest.approx(1)


def test_scores_are_the_greatest_probability_and_the_energy() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    single = scores_of(logits, "single_label", is_one_look=True)
    assert single["max_probability"] == pytest.approx(np.exp(2) / (np.exp(2) + 1 + np.exp(-1)))
    assert single["energy"] == pytest.approx(np.log(np.exp(2) + 1 + np.exp(-1)))
    surer = scores_of(torch.tensor([[20.0, 0.0, 0.0], [22.0, 0.0, 0.0]]), "single_label", is_one_look=True)
    assert surer["max_probability"][0] < surer["max_probability"][1]  # both of which are 1 in single precision
    several = scores_of(logits, "multi_label", is_one_look=True)
    assert several["energy"] == pytest.approx(sum(np.log(1 + np.exp(value)) for value in (2, 0, -1)))
    assert "energy" not in scores_of(logits, "single_label", is_one_look=False)
