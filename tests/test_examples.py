"""Examples are the images that cost most, those answered least surely, and some that chance has chosen."""

import numpy as np

from leyden.examples import NUM_OF_A_KIND, choose


def test_worst_and_least_sure_are_chosen_by_what_they_are_called() -> None:
    generator = np.random.default_rng(1)
    losses, confidences = generator.random(50), generator.random(50)
    chosen = choose(losses, confidences)
    assert chosen["worst"] == sorted(range(50), key=lambda row: -losses[row])[:NUM_OF_A_KIND]
    assert chosen["uncertain"] == sorted(range(50), key=lambda row: confidences[row])[:NUM_OF_A_KIND]
    assert chosen["random"] == choose(losses[::-1], confidences)["random"]


def test_numbers_have_no_uncertain_ones() -> None:
    assert choose(np.arange(3.0), None).keys() == {"worst", "random"}
