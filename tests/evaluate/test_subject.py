"""Other data made into what a network wants: its size, its channels, its classes."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from leyden.data import Digits, ImageDataModule
from leyden.data.facts import DataFacts
from leyden.evaluate.subject import compose_data, fitted, labels_of, match_classes, open_outside, open_subject
from running import compose_config

FACTS = DataFacts("digits", "single_label", Digits.class_names, 1, 8, 1.0, (0.3,), (0.4,))


def test_images_are_resized_and_coloured_as_pillow_does_it() -> None:
    image = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    theirs = np.asarray(Image.fromarray(image).convert("L").resize((8, 8), Image.Resampling.BICUBIC))
    ours = fitted(torch.from_numpy(image).permute(2, 0, 1)[None], FACTS)[0, 0].numpy()
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    grey = torch.randint(256, (2, 1, 8, 8), dtype=torch.uint8)
    assert fitted(grey, FACTS) is grey
    assert torch.equal(fitted(grey, FACTS._replace(channels=3)), grey.expand(-1, 3, -1, -1))


class Named(Digits):
    """Digits of other names."""

    def __init__(self, *names: str) -> None:
        self.class_names = names  # type: ignore[assignment]


def test_classes_go_by_their_names_and_unknown_ones_are_named(caplog: pytest.LogCaptureFixture) -> None:
    data = ImageDataModule(Named("7", "x", "0"), 8, 0)  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        places = match_classes(data, FACTS)
    assert places is not None
    assert places.tolist() == [7, -1, 0]
    assert "does not know the classes x" in caplog.text
    assert "no class 1, 2, 3, 4, 5 and 3 more of the run" in caplog.text
    assert labels_of(torch.tensor([0, 2, 1]), places, FACTS).tolist() == [7, 0, -1]
    several = labels_of(torch.tensor([[1.0, 1.0, 0.0]]), places, FACTS._replace(task="multi_label"))
    assert several.nonzero().tolist() == [[0, 7]]
    with pytest.raises(ValueError, match=r"none of its classes \(a, b\) is one of the run's"):
        match_classes(ImageDataModule(Named("a", "b"), 8, 0), FACTS)  # type: ignore[arg-type]


def test_other_data_are_read_as_the_network_wants_them_unless_words_say_otherwise(tmp_path: Path) -> None:
    words = ["data=image_folder", f"data.root={tmp_path}", "data.source.image_size=16"]
    found = compose_data(words, compose_config("data.split_seed=7", "batch_size=12"), FACTS).data
    assert (found.source.channels, found.source.image_size, found.margin) == (1, 16, 1.0)
    assert (list(found.source.mean), list(found.source.std)) == ([0.3], [0.4])
    assert (found.split_seed, found.batch_size, found.cache) == (7, 12, "none")


def test_a_word_changes_the_runs_own_data() -> None:
    assert compose_data(["data.root=elsewhere"], compose_config(), FACTS).data.root == "elsewhere"
    with pytest.raises(ValueError, match=r"did you mean 'data\.root'"):
        compose_data(["data.rot=x"], compose_config(), FACTS)
    with pytest.raises(ValueError, match=r"data\.root has no value"):
        compose_data(["data=image_folder"], compose_config(), FACTS)


def test_a_misspelt_word_for_other_data_is_held_against_what_they_have() -> None:
    with pytest.raises(ValueError, match=r"unknown key 'data\.rot' .*: did you mean 'root'"):
        compose_data(["data=image_folder", "data.rot=x"], compose_config(), FACTS)


def recorded(config: Any) -> dict[str, Any]:
    from leyden.build import build_data

    data = build_data(config)
    data.setup("fit")
    return data.facts()


def test_the_runs_own_images_keep_their_splits_however_they_are_named() -> None:
    config = compose_config()
    facts = recorded(config)
    own = open_subject([], config, facts, FACTS, "auto")
    assert (own.is_own, own.split, own.name, len(own.indices)) == (True, "test", "test", facts["num_test"])
    named = open_subject(["data=digits"], config, facts, FACTS, "val")
    assert (named.is_own, named.name, len(named.indices)) == (True, "val", facts["num_val"])
    assert len(open_subject([], config, facts, FACTS, "all").indices) == 1797


@pytest.mark.parametrize("words", [["data.split_seed=7"], ["data=digits", "data.test_fraction=0.5"], ["data.fold=1"]])
def test_the_runs_own_images_are_not_split_anew_into_a_test_that_was_learnt_from(words: list[str]) -> None:
    config = compose_config()
    facts = recorded(config)
    key = words[-1].partition("=")[0]
    for split in ("auto", "val"):
        with pytest.raises(ValueError, match=rf"{key}=.*: the run has {key}=.*, and another split would ask about"):
            open_subject(words, config, facts, FACTS, split)
    assert len(open_subject(words, config, facts, FACTS, "all").indices) == 1797


def test_other_data_without_a_test_part_are_asked_whole() -> None:
    config, facts = compose_config(), {"layout": "of other images", "name": "others"}
    other = open_subject(["data=digits"], config, facts, FACTS, "auto")
    assert (other.is_own, other.split, other.name, len(other.indices)) == (False, "all", "digits_all", 1797)
    outside = open_outside(["data=digits"], config, FACTS)
    assert (outside.split, len(outside.indices)) == ("all", 1797)
    several = FACTS._replace(task="multi_label")
    with pytest.raises(ValueError, match="digits is single_label, and the run has learnt multi_label"):
        open_subject(["data=digits"], config, facts, several, "auto")


@pytest.mark.parametrize(("parts", "split", "count"), [(["train", "val"], "all", 4), (["train", "test"], "test", 2)])
def test_data_from_outside_are_called_by_the_part_that_they_have(
    parts: list[str], split: str, count: int, tmp_path: Path
) -> None:
    for part in parts:
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            Image.new("L", (9, 9)).save(tmp_path / part / name / "1.png")
    outside = open_outside(["data=image_folder", f"data.root={tmp_path}"], compose_config(), FACTS)
    assert (outside.split, len(outside.indices)) == (split, count)
