"""Fine-tuning: what is said of settings that make no sense together."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from leyden.backbones import MLP
from leyden.build import build_classifier, build_data, warn_of_what_makes_no_sense
from leyden.config import CONFIG_DIRECTORY
from running import TINY, FinishedRun, compose_config

WAYS = sorted(path.stem for path in (CONFIG_DIRECTORY / "finetune").glob("*.yaml"))


def build(*overrides: str) -> None:
    config = compose_config(*TINY, *overrides)
    warn_of_what_makes_no_sense(build_classifier(config, build_data(config)).finetune, config)


def test_l2sp_with_the_papers_values_warns_of_an_optimizer_that_is_not_the_papers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    words = "finetune=l2sp: alpha and beta are those of the paper, for optimizer=sgd"
    for overrides, is_told in (([], True), (["optimizer=sgd"], False), (["finetune.alpha=0.02"], False)):
        caplog.clear()
        build("finetune=l2sp", *overrides)
        assert (words in caplog.text) == is_told


@pytest.mark.parametrize("way", [*WAYS, "full finetune.frozen_layers=1"])
def test_way_that_builds_on_weights_warns_once_of_new_ones(
    way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(MLP(1, 8, depth=2, width=16).state_dict(), tmp_path / "weights.pth")
    network = ["backbone.depth=2", "epochs=9", *f"finetune={way}".split()]
    build(*network)
    warned = [record.getMessage() for record in caplog.records if "keeps to the weights" in record.getMessage()]
    is_for_new = way in ("full", "scratch")
    assert [message.startswith(f"finetune={way.replace(' ', ' with ')} keeps") for message in warned] == [True] * (
        not is_for_new
    )
    caplog.clear()
    build(*network, f"weights={tmp_path / 'weights.pth'}")
    assert "keeps to the weights" not in caplog.text


def test_run_warns_of_new_weights_when_it_begins_and_not_when_it_is_built_again(
    train_run: Callable[..., FinishedRun], caplog: pytest.LogCaptureFixture
) -> None:
    run = train_run("finetune=head_then_full", "epochs=2", "pictures=false")
    assert caplog.text.count("keeps to the weights that the backbone begins with") == 1
    caplog.clear()
    build_classifier(config := OmegaConf.load(run.directory / "config.yaml"), build_data(config))  # type: ignore[arg-type]
    assert "keeps to the weights" not in caplog.text
