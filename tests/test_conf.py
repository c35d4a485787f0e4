"""Every file of conf/: it composes, passes the check, is built, and takes a training step."""

from pathlib import Path

import pytest
import torch

from leyden.build import build_callbacks, build_classifier, build_loggers, build_trainer, instantiate
from leyden.check import GROUPS, check
from leyden.classifier import ImageClassifier
from leyden.config import CONFIG_DIRECTORY, Origin
from leyden.data import Batch, ImageDataModule
from leyden.optim import build_optimizer
from leyden.run import RunRecord
from leyden.signals import Signals
from running import compose_config
from task_sources import with_data

FILES = [(path.parent.name, path.stem) for path in sorted(CONFIG_DIRECTORY.glob("*/*.yaml"))]
SMALL = ["backbone=mlp", "backbone.width=8"]
NEEDED = {  # keys that have no value until one is given, and what `write_data` puts there
    "image_folder": {"data.root": "images"},
    "table": {"data.root": "images", "data.source.file": "labels.csv"},
    "shards": {"data.root": "shards"},
    "huggingface": {"data.source.path": "saved"},
}
PACKAGES = {"elpv": "elpv_dataset", "huggingface": "datasets"}  # extras without which a file cannot be built


def step(classifier: ImageClassifier, data: ImageDataModule, num_images: int = 4) -> None:
    """Augments, computes the loss, its gradients, and one step of the optimizer."""
    size = (num_images, data.channels, data.image_size, data.image_size)
    images = torch.randint(256, size, dtype=torch.uint8)
    labels = torch.arange(num_images) % data.num_outputs
    if data.task == "multi_label":
        labels = torch.nn.functional.one_hot(labels, data.num_outputs).float()
    elif data.task == "regression":
        labels = labels.float()
    batch = Batch(images, labels, torch.arange(num_images))
    images, targets = classifier.augment(batch, 0, 0)
    loss = classifier.loss(classifier(images), targets)
    optimizer = classifier.make_optimizer(classifier, device=torch.device("cpu"))
    loss.backward()
    optimizer.step()
    classifier.make_schedule(optimizer, total_steps=10)
    assert torch.isfinite(loss)


def write_data(option: str, directory: Path) -> list[str]:
    """Small data of three classes for a source that needs some; the overrides that name it."""
    for name in ("cat", "dog", "owl"):
        (directory / "images" / name).mkdir(parents=True)
    (directory / "labels.csv").write_text("path,label\n1.png,cat\n2.png,dog\n3.png,owl\n", encoding="utf-8")
    (directory / "shards").mkdir()
    (directory / "shards" / "classes.txt").write_text("cat\ndog\nowl\n", encoding="utf-8")
    (directory / "shards" / "train-0.tar").touch()
    if option == "huggingface":
        from datasets import Dataset, Features, Image, Value

        features = Features({"image": Image(), "label": Value("string")})
        rows = Dataset.from_dict({"image": [None] * 3, "label": ["cat", "dog", "owl"]}, features)
        rows.save_to_disk(directory / "saved")
    return [f"{key}={directory / name}" for key, name in NEEDED.get(option, {}).items()]


@pytest.mark.parametrize(("group", "option"), FILES, ids=[f"{group}={option}" for group, option in FILES])
def test_every_file_composes_builds_and_steps(group: str, option: str, tmp_path: Path) -> None:
    network = [] if group in ("backbone", "experiment") else SMALL
    if group == "data" and option in PACKAGES:
        pytest.importorskip(PACKAGES[option])
    needed = write_data(option, tmp_path) if group == "data" else []
    if group == "study":
        needed = ["optimizer.lr=0.01"]  # by what was chosen of a group, which only a job knows
    config = compose_config(*network, *with_data(f"{group}={option}"), *needed)
    check(config)
    data = instantiate(config.data)
    classifier = build_classifier(config, data)
    step(classifier, data)
    if group in ("logger", "callbacks"):
        build_loggers(config, tmp_path)
        callbacks = build_callbacks(config, data, RunRecord(tmp_path, []), Origin(), Signals())
        assert [type(callback).__name__ for callback in callbacks] == [
            "StepBoundary",
            "Progress",
            "Checkpoints",
            "Layers",
            "Heartbeat",
        ]
    if group == "trainer" and option in ("auto", "cpu", "debug"):
        build_trainer(config, "cpu", "32-true", [], [])


def test_key_without_a_value_is_named() -> None:
    for option, keys in NEEDED.items():
        for key in keys:
            others = [f"{other}=here" for other in keys if other != key]
            with pytest.raises(ValueError, match=rf"{key} has no value yet: give {key}="):
                check(compose_config(f"data={option}", *others))


@pytest.mark.parametrize("data", ["digits", "fashion_mnist", "cifar10", "cifar100"])
@pytest.mark.parametrize("backbone", [option for group, option in FILES if group == "backbone"])
def test_every_backbone_takes_every_data_set(backbone: str, data: str) -> None:
    new = ["backbone.pretrained=false"] if backbone.startswith("lite") else []  # no weights go where there is no memory
    config = compose_config(f"data={data}", f"backbone={backbone}", *new)
    module = instantiate(config.data)
    with torch.device("meta"):
        classifier = build_classifier(config, module)
        logits = classifier(torch.empty(2, module.channels, module.image_size, module.image_size))
    assert logits.shape == (2, module.num_classes)


def test_every_group_has_its_folder_and_each_file_says_what_it_is() -> None:
    assert {group for group, _ in FILES} - {"experiment", "study"} == set(GROUPS)
    for group, option in FILES:
        first = (CONFIG_DIRECTORY / group / f"{option}.yaml").read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith("# "), (group, option)


def test_recipes_say_how_they_were_measured() -> None:
    for path in (CONFIG_DIRECTORY / "experiment").glob("*.yaml"):
        header = path.read_text(encoding="utf-8")
        for words in (f"leyden train experiment={path.stem}", "±", "test accuracy"):
            assert words in header, (path.name, words)
        assert "three seeds" in header or "five splits" in header, path.name


def test_regularisation_of_the_example_line_arrives() -> None:
    config = compose_config(
        "data=fashion_mnist", "backbone=resnet", "optimizer=rmsprop", "head.dropout=0.2",
        "optimizer.weight_decay=0.01", "augment=standard",
    )  # fmt: skip
    check(config)
    classifier = build_classifier(config, instantiate(config.data))
    optimizer = build_optimizer(instantiate(config.optimizer), classifier, torch.device("cpu"))
    assert isinstance(optimizer, torch.optim.RMSprop)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]
    assert isinstance(classifier.head[0], torch.nn.Dropout)
    assert classifier.head[0].p == 0.2
    assert list(classifier.augment.operations) == ["crop", "flip", "affine", "brightness", "contrast", "erase"]
