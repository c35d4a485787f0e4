"""Features of a frozen backbone: computed once, and the same as if they were not."""

import copy
import importlib
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from leyden import command_line
from leyden.augment import Augmentation, HorizontalFlip
from leyden.backbones import MLP, ViT
from leyden.data import ImageDataModule, ImageFolder
from leyden.data.features import Features, digest_of, keep_features
from leyden.errors import Interrupted
from running import FinishedRun, differences

Train = Callable[..., FinishedRun]
PROBE = ["backbone=cnn", "backbone.widths=[4,8]", "finetune=linear_probe", "trainer.precision=32-true", "epochs=3"]


def weights_of(run: FinishedRun) -> dict[str, torch.Tensor]:
    return torch.load(run.directory / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.fixture
def probe(train_run: Train, tmp_path: Path) -> Train:
    return lambda *overrides: train_run(*PROBE, f"+data.cache_directory={tmp_path / 'cache'}", *overrides)


@pytest.mark.parametrize("augment", ["none", "flip_crop"])
def test_probe_on_kept_features_learns_what_one_learns_that_runs_the_backbone(probe: Train, augment: str) -> None:
    kept = probe(f"augment={augment}", "finetune.views=3")
    run_each_time = probe(f"augment={augment}", "finetune.cache_features=false")
    for name, value in weights_of(run_each_time).items():
        assert torch.allclose(weights_of(kept)[name], value, atol=1e-5), name
    ours, theirs = (run.record["metrics"] for run in (kept, run_each_time))
    assert ours["test/loss"] == pytest.approx(theirs["test/loss"], abs=1e-5)


def test_second_run_reads_what_the_first_has_computed(
    probe: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = probe()
    files = list((tmp_path / "cache").glob("*.features"))
    assert len(files) == 1
    with monkeypatch.context() as patch:
        patch.setattr("leyden.data.features._compute", lambda *_: pytest.fail("the backbone has run"))
        assert differences(first, probe()) == []
        probe("seed=0", "data.labels_per_class=5", "optimizer.lr=0.1")  # any other setting of the head, too


def test_signal_is_heeded_while_they_are_computed(probe: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def computing(*arguments: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("went on")

    monkeypatch.setattr("leyden.data.features._compute", computing)
    with pytest.raises(Interrupted):
        probe()


def test_damaged_file_is_computed_anew_and_named(
    probe: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = probe()
    (file,) = (tmp_path / "cache").glob("*.features")
    file.write_bytes(file.read_bytes()[:1000])
    with caplog.at_level(logging.WARNING):
        assert differences(first, probe()) == []
    assert f"{file} is damaged" in caplog.text
    np.load(file)["rows"]


def test_another_backbone_or_view_has_features_of_its_own(probe: Train, tmp_path: Path) -> None:
    probe()
    probe("seed=1")  # whose new weights are others
    assert len(list((tmp_path / "cache").glob("*.features"))) == 2
    probe("augment=flip_crop", "finetune.views=2")  # plain for validation, which is there, and two views
    assert len(list((tmp_path / "cache").glob("*.features"))) == 4


def test_networks_that_hold_the_same_and_do_another_thing_are_told_apart() -> None:
    one, other, heads = MLP(1, 8), MLP(1, 8, activation="tanh"), ViT(1, 8, 4, 16, 1, 2)
    other.load_state_dict(one.state_dict())
    assert digest_of(one) != digest_of(other)
    again = ViT(1, 8, 4, 16, 1, 4)
    again.load_state_dict(heads.state_dict())
    assert digest_of(heads) != digest_of(again)
    assert digest_of(copy.deepcopy(one).eval()) == digest_of(one)


def test_network_whose_code_has_changed_has_other_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pooling_net.py"
    file.write_text("import torch\nclass Net(torch.nn.Flatten):\n    num_features = 64\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    network = importlib.import_module("pooling_net").Net()
    before = digest_of(network)
    assert digest_of(copy.deepcopy(network)) == before
    file.write_text(file.read_text(encoding="utf-8") + "    # another forward\n", encoding="utf-8")
    assert digest_of(network) != before


def test_features_that_cannot_be_kept_are_used_all_the_same(
    pictures: ImageDataModule, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = kept(pictures, 2)
    assert not list((tmp_path / "cache").glob(".*"))  # nobody is at work there
    (tmp_path / "file").touch()
    pictures.cache_directory = tmp_path / "file" / "cache"
    found = kept(pictures, 2)
    assert all(torch.equal(one, other) for one, other in zip(found.views, expected.views, strict=True))
    assert "could not be written" in caplog.text


def test_mixed_images_have_no_features_to_keep(probe: Train) -> None:
    with pytest.raises(ValueError, match=r"augment\.mix blends images, whose features cannot be kept"):
        probe("augment=none", "+augment.mix={_target_: leyden.augment.Mix}")


def test_probe_goes_on_after_a_kill_to_the_same_bits(
    train_run: Train, interrupted: Callable[..., FinishedRun], tmp_path: Path
) -> None:
    overrides = [*PROBE, f"+data.cache_directory={tmp_path / 'cache'}", "augment=flip_crop", "finetune.views=2"]
    overrides += ["callbacks.ema.decay=0.9"]
    whole = train_run(*overrides)
    run = interrupted(*overrides, hook="on_train_batch_end", count=25)
    for file in (tmp_path / "cache").glob("*.features"):
        file.unlink()
    assert command_line.resume([str(run.directory)]) == 0
    assert differences(whole, run) == []


@pytest.fixture
def pictures(write_digits: Callable[..., Path], tmp_path: Path) -> ImageDataModule:
    """60 digits in PNG files, of which those that cannot be read are left out."""
    source = ImageFolder(str(write_digits("pictures", end=60)), 8, [0.3], [0.4], channels=1)
    data = ImageDataModule(source, batch_size=8, seed=0, on_error="skip", cache_directory=str(tmp_path / "cache"))
    data.setup("fit")
    return data


def kept(data: ImageDataModule, num_views: int) -> Features:
    """What a small network says of images that are flipped at random, in so many views."""
    torch.manual_seed(0)
    augment = Augmentation({"flip": HorizontalFlip()}, num_classes=10, mean=[0.3], std=[0.4], seed=0)
    classifier = SimpleNamespace(augment=augment, backbone=MLP(1, 8))
    return keep_features(classifier, data, num_views, torch.device("cpu"), "32-true")


def test_image_that_one_view_could_not_read_is_not_known(pictures: ImageDataModule) -> None:
    assert pictures.files is not None
    files, index = pictures.files, int(pictures.train_indices[3])
    reads: list[str] = []

    def read_once(path: str) -> torch.Tensor:
        if path.endswith(files.paths[index]):
            reads.append(path)
            if len(reads) == 2:
                raise OSError(5, "Input/output error")
        return files.read(path)

    pictures.files = files._replace(read=read_once)
    features = kept(pictures, num_views=2)
    assert len(reads) == 2
    assert (~features.is_known).nonzero().flatten().tolist() == [index]


def test_no_readable_training_image_is_told_in_a_sentence(pictures: ImageDataModule) -> None:
    assert pictures.files is not None
    for index in pictures.train_indices.tolist():
        (pictures.files.directory / pictures.files.paths[index]).write_bytes(b"no image")
    with pytest.raises(ValueError, match="pictures: none of the training images can be read"):
        kept(pictures, num_views=1)


def test_file_that_another_of_its_size_replaces_has_features_of_its_own(
    pictures: ImageDataModule, tmp_path: Path
) -> None:
    assert pictures.files is not None
    index = int(pictures.val_indices[0])
    path = pictures.files.directory / pictures.files.paths[index]
    before, size = kept(pictures, 1).plain[index], path.stat().st_size
    Image.new("L", (8, 8), 99).save(path)
    path.write_bytes(path.read_bytes().ljust(size, b"\0"))
    assert path.stat().st_size == size
    assert not torch.equal(kept(pictures, 1).plain[index], before)
    files = len(list((tmp_path / "cache").iterdir()))
    pictures.labels = pictures.labels.roll(1)  # which features know nothing of
    kept(pictures, 1)
    assert len(list((tmp_path / "cache").iterdir())) == files


def test_features_do_not_depend_on_which_others_are_computed_with_them(probe: Train, tmp_path: Path) -> None:
    few = probe("data.labels_per_class=3", "epochs=1")
    (file,) = (tmp_path / "cache").glob("*.features")
    with np.load(file) as stored:
        some = {name: stored[name] for name in ("rows", "is_known")}
    file.unlink()
    probe("epochs=1")
    with np.load(file) as stored:
        assert stored["is_known"].sum() > some["is_known"].sum()
        assert (stored["rows"][some["is_known"]] == some["rows"][some["is_known"]]).all()
    assert few.record["status"] == "finished"
