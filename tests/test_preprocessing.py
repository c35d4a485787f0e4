"""Images as the weights have seen them."""

import logging
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from leyden.build import build_data
from leyden.config import Origin
from leyden.preprocessing import adopt
from running import compose_config


def composed(tmp_path: Path, *overrides: str):
    config = compose_config("data=image_folder", f"data.root={tmp_path}", "backbone=lite0", *overrides)
    OmegaConf.resolve(config)
    return config


def test_pretrained_weights_bring_their_preprocessing(tmp_path: Path) -> None:
    config = composed(tmp_path)
    adopt(config, Origin())
    source = config.data.source
    assert (source.image_size, list(source.mean), list(source.std)) == (224, [0.5] * 3, [0.5] * 3)
    assert round(config.data.margin * source.image_size) == 256


def test_what_the_user_says_stays_and_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    overrides = ["data.source.image_size=160", "data.source.mean=[0.1,0.2,0.3]"]
    config = composed(tmp_path, *overrides)
    with caplog.at_level(logging.WARNING):
        adopt(config, Origin(overrides))
    assert (config.data.source.image_size, list(config.data.source.mean)) == (160, [0.1, 0.2, 0.3])
    assert list(config.data.source.std) == [0.5] * 3
    assert (
        "data.source.image_size=160 as you say; the weights of tf_efficientnet_lite0 were trained with 224"
        in caplog.text
    )
    assert "data.source.mean=[0.1, 0.2, 0.3] as you say" in caplog.text


def test_new_weights_change_nothing(tmp_path: Path) -> None:
    config = composed(tmp_path, "backbone.pretrained=false")
    before = OmegaConf.to_yaml(config)
    adopt(config, Origin())
    assert OmegaConf.to_yaml(config) == before


def test_images_whose_normalisation_is_no_choice_get_that_of_the_weights() -> None:
    data = build_data(compose_config("data=digits", "backbone=lite0"))
    assert (data.mean, data.std) == ((0.5,), (0.5,))
    grey = build_data(
        compose_config("data=digits", "backbone=timm", "backbone.name=resnet18", "backbone.pretrained=true")
    )
    assert grey.mean == pytest.approx((0.449,), abs=1e-3)


def test_what_a_recipe_inherits_and_a_preset_sets_is_given(tmp_path: Path) -> None:
    for name, text in {
        "experiment/base": "data:\n  margin: 1.07\n",
        "experiment/mine": "defaults:\n  - base\n  - override /optimizer: sgd\n  - _self_\nseed: 1\n",
        "study/sizes": "data:\n  source:\n    image_size: 64\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    origin = Origin([], {"experiment": "mine", "study": "sizes"}, [tmp_path])
    given = {key: origin.is_given(key) for key in ("data.margin", "seed", "data.source.image_size", "data.source.mean")}
    assert given == {"data.margin": True, "seed": True, "data.source.image_size": True, "data.source.mean": False}
