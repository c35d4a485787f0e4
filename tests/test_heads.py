"""The head: dropout, then one linear layer."""

import pytest
import torch

from leyden.heads import LinearHead


def test_head_drops_features_in_training_only() -> None:
    torch.manual_seed(0)
    head, features = LinearHead(1000, 3, dropout=0.5), torch.ones(1, 1000)
    assert not torch.equal(head(features), head(features))
    linear = head[-1]
    torch.testing.assert_close(head.eval()(features), linear(features))


def test_head_without_dropout_is_one_linear_layer() -> None:
    assert [type(layer).__name__ for layer in LinearHead(8, 3)] == ["Linear"]


@pytest.mark.parametrize("dropout", [-0.1, 1.0, 1.5])
def test_dropout_out_of_range_is_refused(dropout: float) -> None:
    with pytest.raises(ValueError, match=f"head.dropout={dropout}"):
        LinearHead(8, 3, dropout)
