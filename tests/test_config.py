"""The typed root, and where keys come from."""

import pytest

from leyden.config import suggest
from running import compose_config


def test_suggestion_names_the_nearest_word_or_all() -> None:
    assert suggest("adma", ["adam", "sgd"]) == "did you mean 'adam'?"
    assert suggest("zzz", ["adam", "sgd"]) == "expected one of adam, sgd"


def test_value_may_go_by_what_was_chosen_of_a_group() -> None:
    lr = "optimizer.lr='${by_choice:finetune,{full: 0.01, gradual: 0.02}}'"
    assert compose_config(lr, "finetune=gradual").optimizer.lr == 0.02
    with pytest.raises(Exception, match="by_choice has no value for finetune=lora: it has full, gradual"):
        print(compose_config(lr, "finetune=lora").optimizer.lr)
