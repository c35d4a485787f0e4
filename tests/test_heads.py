"""The head: dropout, then one linear layer."""

import pytest
import torch
from torch import nn

from leyden.heads import LinearHead, NormedHead, Number


def test_head_drops_features_in_training_only() -> None:
    torch.manual_seed(0)
    head, features = LinearHead(1000, 3, dropout=0.5), torch.ones(1, 1000)
    assert not torch.equal(head(features), head(features))
    linear = head[-1]
    torch.testing.assert_close(head.eval()(features), linear(features))


def test_head_without_dropout_is_one_linear_layer() -> None:
    assert [type(layer).__name__ for layer in LinearHead(8, 3)] == ["Linear"]


def test_normed_head_begins_without_an_opinion_and_finds_the_answer_of_least_norm() -> None:
    generator = torch.Generator().manual_seed(0)
    features, targets = torch.randn(6, 40, generator=generator), torch.randn(6, 3, generator=generator)
    head = NormedHead(40, 3)
    assert not head(features).any()
    inputs, linear = head[0](features), head[1]
    assert isinstance(linear, nn.Linear)
    optimizer = torch.optim.SGD(head.parameters(), 0.002)
    for _ in range(3000):
        optimizer.zero_grad()
        (linear(inputs) - targets).square().sum().backward()
        optimizer.step()
    with_ones = torch.cat([inputs, torch.ones(6, 1)], 1)
    expected = torch.linalg.pinv(with_ones) @ targets  # Moore and Penrose's
    torch.testing.assert_close(torch.cat([linear.weight.T, linear.bias[None]]), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, 1.5])
def test_dropout_out_of_range_is_refused(dropout: float) -> None:
    with pytest.raises(ValueError, match=f"head.dropout={dropout}"):
        LinearHead(8, 3, dropout)


def test_number_is_in_the_units_of_the_training_labels() -> None:
    head = LinearHead(5, 1)
    number = Number(head)
    number.fit_labels(torch.tensor([10.0, 20.0, 30.0, 40.0]))
    features = torch.randn(7, 5)
    assert number(features).shape == (7,)
    torch.testing.assert_close(number(features), 25 + 125**0.5 * head(features)[:, 0])
    with torch.autocast("cpu", torch.bfloat16):
        assert number(features).dtype == torch.float32


def test_number_of_equal_labels_is_theirs() -> None:
    number = Number(nn.Linear(5, 1))
    number.fit_labels(torch.full((9,), 3.0))
    assert number.state_dict()["mean"] == 3
    assert number.state_dict()["deviation"] == 1
