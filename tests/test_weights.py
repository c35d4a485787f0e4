"""What a network begins with: files, directories and runs."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from leyden import command_line
from leyden.backbones import CNN, MLP, TimmBackbone
from leyden.build import build_classifier, build_data
from leyden.check import check
from leyden.config import Origin
from leyden.heads import LinearHead, NormedHead
from leyden.weights import Weights, keep_head, load_weights, read_weights, run_of
from running import FinishedRun, compose_config
from studies import Study

Train = Callable[..., FinishedRun]


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth", "nested.pth"])
def test_file_gives_back_the_tensors_that_were_written(name: str, tmp_path: Path) -> None:
    given, network = CNN(1, 8), CNN(1, 8)
    path = tmp_path / name
    if name.endswith("safetensors"):
        save_file(given.state_dict(), path)
    else:
        torch.save({"state_dict": given.state_dict()} if name == "nested.pth" else given.state_dict(), path)
    for source in (path, tmp_path):  # the directory of one file is as good
        fit = load_weights(network, read_weights(str(source)))
        assert all(torch.equal(value, network.state_dict()[key]) for key, value in given.state_dict().items())
        assert len(fit.digest) == 64


def test_run_begins_with_the_best_weights_of_another(train_run: Train) -> None:
    first = train_run("epochs=2")
    best = torch.load(first.directory / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    second = train_run("epochs=1", f"weights={first.directory}", "optimizer.lr=1e-30", "optimizer.weight_decay=0")
    last = torch.load(second.directory / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in best.items():
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked")):
            assert torch.allclose(value, last[name], atol=1e-6), name
    assert second.record["transfer"]["head"] == "kept"
    assert second.record["transfer"]["their SHA-256"]


def test_run_that_picks_by_averaged_weights_is_begun_from_with_them(train_run: Train) -> None:
    run = train_run("callbacks.ema.decay=0.9", "monitor=val/ema_accuracy", "epochs=1")
    average, found = run.checkpoint("best")["callbacks"]["Ema"]["average"], read_weights(str(run.directory))
    assert run_of(str(run.directory)) == found.run
    for part, tensors in {"backbone": found.tensors, "head": found.head}.items():
        assert tensors
        assert all(torch.equal(value, average[f"module.{part}.{name}"]) for name, value in tensors.items())


def test_run_of_lora_gives_the_plain_network_with_its_adapters_folded_in(train_run: Train) -> None:
    first = train_run("epochs=2", "finetune=lora", "finetune.alpha=24", "optimizer.lr=0.02")
    still = ["epochs=1", "optimizer.lr=1e-30", "optimizer.weight_decay=0"]
    second = train_run(*still, f"weights={first.directory}")
    assert second.record["transfer"]["head"] == "kept"
    assert second.metrics["test/loss"] == pytest.approx(first.metrics["test/loss"], rel=1e-4)


def test_run_does_not_go_on_from_other_weights_than_it_began_with(
    interrupted: Callable[..., FinishedRun], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "weights.safetensors"
    tensors = MLP(1, 8, depth=2, width=16).state_dict()
    save_file(tensors, file)
    network = ["backbone.depth=2", "backbone.width=16"]
    run = interrupted(f"weights={file}", *network, "finetune=l2sp", hook="on_train_batch_end", count=20)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, file)
    assert command_line.resume([str(run.directory)]) == 1
    assert f"{file} holds other weights than those that this run began with (SHA-256 " in capsys.readouterr().err
    save_file(tensors, file)
    assert command_line.resume([str(run.directory)]) == 0


def test_new_head_is_what_it_is_without_weights(train_run: Train) -> None:
    first = train_run("epochs=1")
    second = train_run("epochs=1", f"weights={first.directory}", "keep_head=false")
    assert second.record["transfer"]["head"] == "new"


def test_head_keeps_the_classes_that_are_called_the_same() -> None:
    known, head = LinearHead(4, 3), LinearHead(4, 3)
    before = head[0].weight.detach().clone()
    tensors = {"0.weight": known[0].weight.detach(), "0.bias": known[0].bias.detach()}
    weights = Weights(Path("there"), {}, tensors, {"data": {"class_names": ["cat", "dog", "cow"]}})
    assert (
        keep_head(head, weights, ["dog", "emu", "cat"]) == "kept for 2 of 3 classes, by their names; new for the others"
    )
    assert torch.equal(head[0].weight, torch.stack([known[0].weight[1], before[1], known[0].weight[0]]))
    assert keep_head(head, weights, ["emu", "gnu", "yak"]).startswith("new: none of the 3 classes")


def test_head_of_another_kind_is_not_kept_and_one_of_the_same_keeps_its_statistics() -> None:
    def weights_of(head: nn.Module) -> Weights:
        return Weights(Path("there"), {}, head.state_dict(), {"data": {"class_names": ["cat", "dog", "cow"]}})

    names = ["cow", "dog", "cat"]
    normed, known = NormedHead(4, 3), NormedHead(4, 3)
    known(torch.randn(64, 4) * 5 + 3)
    assert keep_head(LinearHead(4, 3), weights_of(known), names) == "new: that of the weights is of another kind"
    assert keep_head(normed, weights_of(LinearHead(4, 3)), names).startswith("new: that of")
    assert keep_head(normed, weights_of(known), names) == "kept"
    assert keep_head(LinearHead(4, 3), weights_of(LinearHead(4, 3, dropout=0.2)), names) == "kept"
    assert torch.equal(normed[0].running_mean, known[0].running_mean)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensor: (tensor * 100).to(torch.int8), r"has whole numbers \(torch.int8\) in layers"),
        (lambda tensor: tensor * torch.nan, r"has values that are not finite in layers"),
    ],
)
def test_tensors_that_are_no_weights_are_refused(
    change: Callable[[torch.Tensor], torch.Tensor], message: str, tmp_path: Path
) -> None:
    network = MLP(1, 8, depth=1, width=4)
    save_file({name: change(tensor) for name, tensor in network.state_dict().items()}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=message):
        load_weights(network, read_weights(str(tmp_path)))


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    for name, content, words in [
        ("cut.safetensors", b"123", "cut.safetensors is damaged or no safetensors file"),
        ("cut.pth", b"PK\x03\x04rest", r"cut\.pth is damaged"),
        ("code.pth", pickle.dumps(Path("x")), r"code\.pth carries code|code\.pth is damaged"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=words):
            read_weights(str(tmp_path / name))
    with pytest.raises(
        ValueError, match=r"expected one file of weights there, found code\.pth, cut\.pth, cut\.safetensors"
    ):
        read_weights(str(tmp_path))
    with pytest.raises(ValueError, match="nothing is there"):
        read_weights(str(tmp_path / "absent"))
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(ValueError, match="holds no tensors"):
        read_weights(str(tmp_path / "empty.pth"))


def timm_weights(name: str, tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """A file of new weights of a network of timm, and its tensors."""
    torch.manual_seed(3)
    tensors = TimmBackbone(1, 32, name).network.state_dict()
    torch.save(tensors, tmp_path / f"{name}.pth")
    return tmp_path / f"{name}.pth", tensors


def test_weights_that_are_named_come_before_those_of_the_backbones_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, tensors = timm_weights("tf_efficientnet_lite0", tmp_path)
    config = compose_config("backbone=lite0", f"weights={path}")
    check(config)
    with caplog.at_level("INFO"):
        classifier = build_classifier(config, build_data(config))
    ours = classifier.backbone.network.state_dict()  # type: ignore[union-attr,operator]
    assert all(torch.equal(tensor, ours[name]) for name, tensor in tensors.items())
    assert f"weights={path} stand in for those that backbone.pretrained would load" in caplog.text


def test_weights_of_a_larger_network_of_the_same_kind_are_of_another_architecture(tmp_path: Path) -> None:
    path, _ = timm_weights("tf_efficientnet_lite0", tmp_path)
    config = compose_config("backbone=lite1", f"weights={path}")
    with pytest.raises(ValueError, match=r"is of another architecture: \d+ of the backbone's \d+ tensors fit"):
        build_classifier(config, build_data(config))


def test_weights_and_pretrained_that_are_both_given_exclude_each_other() -> None:
    given = ["backbone.pretrained=package", "weights=file.pth"]
    with pytest.raises(ValueError, match=r"both given \(override backbone\.pretrained=package\): choose one"):
        check(compose_config("backbone=lite0", *given), Origin(given))


def test_study_in_place_of_a_run_says_what_to_give(study: Study) -> None:
    assert study("seed=0,1", "pictures=false") == 0
    runs = sorted(path.parents[1] for path in study.directory.glob("*/checkpoints/best.ckpt"))
    with pytest.raises(
        ValueError, match=r"is a study: give one of its runs, as by weights=\S+, or .* `leyden soup"
    ) as e:
        read_weights(str(study.directory))
    assert f"weights={runs[0]}" in str(e.value)
