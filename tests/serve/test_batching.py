"""Images that wait are looked at together, no longer than they must."""

import threading
import time

import pytest
import torch
from torch import Tensor

from leyden.predict.answers import Answer
from leyden.serve.batching import WAITING, Batcher, Busy

IMAGE = torch.zeros(1, 2, 2, dtype=torch.uint8)


class Network:
    """Answers an image with its first pixel, once it may."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.sizes: list[int] = []

    def __call__(self, images: Tensor) -> list[Answer]:
        assert self.may.wait(20)
        self.sizes.append(len(images))
        return [Answer([], [], float(image[0, 0, 0])) for image in images]


def nothing(size: int, seconds: float) -> None:
    """Whom sizes and times do not matter to."""


def test_each_image_gets_its_own_answer_in_batches_that_are_full() -> None:
    network = Network()
    with Batcher(network, 4, 1000.0, nothing) as batcher:
        futures = [batcher.submit(IMAGE + number) for number in range(12)]
        network.may.set()
        assert [future.result(20).value for future in futures] == list(range(12))
    assert network.sizes == [4, 4, 4]


def test_an_image_alone_waits_no_longer_than_it_must() -> None:
    network = Network()
    network.may.set()
    with Batcher(network, 4, 0.0, nothing) as batcher:
        assert batcher.submit(IMAGE).result(20).value == 0
    assert network.sizes == [1]


def test_what_waits_at_the_end_is_answered_before_it() -> None:
    network = Network()
    with Batcher(network, 2, 0.0, nothing) as batcher:
        futures = [batcher.submit(IMAGE + number) for number in range(5)]
        threading.Timer(0.05, network.may.set).start()
    assert [future.result(0).value for future in futures] == list(range(5))
    assert not batcher.is_alive


def test_who_has_left_is_not_looked_at() -> None:
    network = Network()
    with Batcher(network, 1, 0.0, nothing) as batcher:
        first, second, third = (batcher.submit(IMAGE + number) for number in range(3))
        while batcher.waiting.qsize() > 2:
            time.sleep(0.001)
        assert second.cancel()
        network.may.set()
        assert (first.result(20).value, third.result(20).value) == (0, 2)
    assert network.sizes == [1, 1]


def test_too_many_are_turned_away() -> None:
    network = Network()
    with Batcher(network, 1, 0.0, nothing) as batcher:
        batcher.submit(IMAGE)
        while batcher.waiting.qsize():
            time.sleep(0.001)
        for _ in range(WAITING):
            batcher.submit(IMAGE)
        with pytest.raises(Busy):
            batcher.submit(IMAGE)
        network.may.set()
