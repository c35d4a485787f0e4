"""Loading: each image once, the order a function of seed and epoch, ranks share a batch between them."""

import json

import pytest
import torch

from leyden.data import EpochOrder, InMemoryLoader
from leyden.data.loader import sampling_weights

IMAGES = torch.arange(103, dtype=torch.uint8).view(103, 1, 1, 1).expand(103, 3, 4, 4).contiguous()
LABELS = torch.arange(103) % 10
INDICES = torch.arange(1, 103)  # 102 of the 103


def loader(
    batch_size: int = 10,
    seed: int | None = None,
    rank: int = 0,
    world_size: int = 1,
    weights: torch.Tensor | None = None,
) -> InMemoryLoader:
    return InMemoryLoader(IMAGES, LABELS, INDICES, batch_size, seed, rank, world_size, weights)


def test_batches_hold_the_images_of_their_indices() -> None:
    for batch in loader(seed=0):
        assert torch.equal(batch.images, IMAGES[batch.indices])
        assert torch.equal(batch.labels, LABELS[batch.indices])


def test_evaluation_yields_every_image_once_in_order() -> None:
    batches = list(InMemoryLoader(IMAGES, LABELS, INDICES, batch_size=10))
    assert len(batches) == len(loader()) == 11
    assert torch.equal(torch.cat([batch.indices for batch in batches]), INDICES)


def test_evaluation_yields_every_image_once_over_all_ranks() -> None:
    for world_size in (2, 3, 4):
        ranks = [list(loader(16, rank=rank, world_size=world_size)) for rank in range(world_size)]
        assert len({len(batches) for batches in ranks}) == 1
        seen = torch.cat([batch.indices for batches in ranks for batch in batches])
        assert torch.equal(seen.sort().values, INDICES)


def test_training_drops_the_last_incomplete_batch_and_others_each_epoch() -> None:
    training = loader(seed=0)
    dropped = []
    for epoch in range(20):
        training.sampler.set_epoch(epoch)
        seen = torch.cat([batch.indices for batch in training])
        assert len(seen) == 100 == len(seen.unique())
        dropped += sorted(set(INDICES.tolist()) - set(seen.tolist()))
    assert len(set(dropped)) > 20


def test_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        training = loader(seed=seed)
        training.sampler.set_epoch(epoch)
        return torch.cat([batch.indices for batch in training]).tolist()

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


@pytest.mark.parametrize("weights", [None, torch.arange(102) % 7], ids=["alike", "weighted"])
def test_ranks_together_see_the_batches_of_one_process(weights: torch.Tensor | None) -> None:
    alone = [batch.indices for batch in loader(12, 0, weights=weights)]
    ranks = [[batch.indices for batch in loader(12, 0, rank, 3, weights)] for rank in range(3)]
    for whole, *parts in zip(alone, *ranks, strict=True):
        assert [len(part) for part in parts] == [4, 4, 4]
        assert torch.equal(whole, torch.cat(parts))


@pytest.mark.parametrize("batch_size", [1, 2, 9, 17, 51, 101, 102, 103])
def test_batches_are_those_of_a_plain_slice(batch_size: int) -> None:
    order = INDICES.tolist()
    batches = [order[begin : begin + batch_size] for begin in range(0, len(order), batch_size)]
    assert [batch.indices.tolist() for batch in loader(batch_size)] == batches
    assert len(loader(batch_size)) == len(batches)


@pytest.mark.parametrize("num_batches", [1, 2, 7, 9, 10])
@pytest.mark.parametrize("epoch", [0, 3, 1000])
def test_resumed_loader_goes_on_in_the_epoch_it_was_stopped_in_only(epoch: int, num_batches: int) -> None:
    stopped, resumed = loader(seed=0), loader(seed=0)
    assert stopped.state_dict() == {"epoch": 0, "next_batch": 0}
    stopped.sampler.set_epoch(epoch)
    batches = iter(stopped)
    for _ in range(num_batches):
        next(batches)
    resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
    resumed.sampler.set_epoch(epoch)
    assert [batch.indices.tolist() for batch in resumed] == [batch.indices.tolist() for batch in batches]
    resumed.sampler.set_epoch(epoch + 1)
    assert len(list(resumed)) == len(resumed)


def test_batch_larger_than_the_set_takes_all_of_it() -> None:
    assert [len(batch.labels) for batch in loader(batch_size=500, seed=0)] == [102]


@pytest.mark.parametrize("num_images", [1, 7, 1000])
def test_weighted_order_draws_each_image_its_share_rounded(num_images: int) -> None:
    weights = torch.rand(num_images, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 4 + 1e-3
    order = EpochOrder(num_images, 0, weights)
    shares = weights / weights.sum() * num_images
    total = torch.zeros(num_images)
    for epoch in range(400):
        order.set_epoch(epoch)
        drawn = order.positions()
        assert len(drawn) == num_images
        counts = torch.bincount(drawn, minlength=num_images)
        assert ((counts >= shares.floor()) & (counts <= shares.ceil())).all()
        total += counts
    assert (total / 400 - shares).abs().max() < 0.15  # five standard errors of a rounding


@pytest.mark.parametrize("wrong", [0.0, float("inf"), float("nan"), 1e308])
def test_weights_of_which_none_can_be_drawn_are_refused(wrong: float) -> None:
    weights, classes = torch.full((10,), wrong, dtype=torch.float64), torch.arange(10) % 2
    with pytest.raises(ValueError, match="mine: the weights of the training images, or of those of one class, are all"):
        sampling_weights(weights, None, "mine")
    weights = torch.where(classes == 0, weights, 1.0)
    with pytest.raises(ValueError, match="there is none to draw"):
        sampling_weights(weights, classes, "mine")
    assert sampling_weights(None, None, "mine") is None


def test_classes_weigh_alike_and_their_images_among_themselves_as_before() -> None:
    weights, classes = torch.tensor([1.0, 3.0, 5.0, 2.0, 2.0]).double(), torch.tensor([0, 0, 2, 1, 1])
    assert sampling_weights(weights, classes, "mine").tolist() == [0.25, 0.75, 1.0, 0.5, 0.5]  # type: ignore[union-attr]
    assert sampling_weights(None, classes, "mine").tolist() == [0.5, 0.5, 1.0, 0.5, 0.5]  # type: ignore[union-attr]
    for some in (weights, weights / 1e9):
        assert sampling_weights(some, None, "mine") is some


def test_image_of_weight_zero_is_never_drawn() -> None:
    order = EpochOrder(100, 0, torch.arange(100) % 2)
    for epoch in range(20):
        order.set_epoch(epoch)
        assert (order.positions() % 2 == 1).all()


def test_weighted_order_is_a_function_of_seed_and_epoch_in_no_order_of_weights() -> None:
    weights = torch.arange(1, 101, dtype=torch.float64)
    orders = [EpochOrder(100, seed, weights) for seed in (0, 0, 1)]
    first, again, other = (order.positions() for order in orders)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.corrcoef(torch.stack([first.double(), torch.arange(100.0, dtype=torch.float64)]))[0, 1].abs() < 0.3
