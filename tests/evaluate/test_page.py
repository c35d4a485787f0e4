"""What the page says of numbers."""

import pytest

from leyden.evaluate.page import sections

NUMBER = {"value": 0.5, "interval": None}


@pytest.mark.parametrize(
    ("temperature", "is_told_apart", "words"),
    [
        (1.5, True, "divided by 1.5: answers are surer than they are right."),
        (0.5, True, "divided by 0.5: answers could be surer."),
        (0.998, False, "divided by 0.998: which they do not tell from 1."),
        (1.01, False, "divided by 1.01: which they do not tell from 1."),
    ],
)
def test_a_temperature_that_validation_does_not_tell_from_one_says_nothing_of_answers(
    temperature: float, is_told_apart: bool, words: str
) -> None:
    calibration = {
        "temperature": temperature, "is_told_apart": is_told_apart, "validation_images": 80,
        "before": {"loss": NUMBER}, "after": {"loss": NUMBER},
    }  # fmt: skip
    facts = {"task": "single_label", "metrics": {}, "classes": [], "calibration": calibration}
    (sentence,) = next(section.sentences for section in sections(facts) if section.id == "calibration")
    assert sentence == f"The 80 validation images want logits {words}"
