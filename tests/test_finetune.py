"""Fine-tuning: what trains when, how fast, and that nothing else moves."""

import inspect
import sys
from collections.abc import Callable

import pytest
import torch
from omegaconf import OmegaConf
from timm.optim import param_groups_layer_decay
from torch import nn

import leyden.finetune
from leyden import command_line
from leyden.backbones import CNN, MLP, ResNet, TimmBackbone, ViT, WideResNet
from leyden.build import build_classifier, fit_labels, instantiate
from leyden.classifier import ImageClassifier
from leyden.config import CONFIG_DIRECTORY
from leyden.data import ImageDataModule
from leyden.finetune import (
    L2SP,
    BitFit,
    Discriminative,
    Finetune,
    Gradual,
    HeadThenFull,
    LinearProbe,
    Lora,
    merge_adapters,
)
from leyden.heads import LinearHead
from leyden.optim import describe_groups, parameter_groups
from running import TINY, FinishedRun, compose_config

Train = Callable[..., FinishedRun]
WAYS = sorted(path.stem for path in (CONFIG_DIRECTORY / "finetune").glob("*.yaml"))
NORMED = ["backbone.batch_norm=true", "backbone.dropout=0.2", "optimizer.lr=0.01"]


def begun(finetune: Finetune, backbone: nn.Module, num_epochs: int | None = 9) -> Finetune:
    finetune.begin(backbone, LinearHead(backbone.num_features, 10), num_epochs)  # type: ignore[arg-type]
    return finetune


def trained_names(backbone: nn.Module) -> set[str]:
    return {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}


def network_of(*overrides: str) -> tuple[ImageClassifier, ImageDataModule]:
    """The network that a run of TINY with these overrides begins with, and its data, read."""
    config = compose_config(*TINY, *overrides)
    torch.manual_seed(config.seed)
    data = instantiate(config.data)
    classifier = build_classifier(config, data)
    data.setup("fit")
    fit_labels(classifier, data)
    return classifier, data


def test_full_trains_everything_at_the_optimizers_rate() -> None:
    backbone = CNN(1, 8)
    finetune = begun(Finetune(), backbone)
    assert set(finetune.rates()) == {*backbone.parameters(), *finetune.head.parameters()}
    assert set(finetune.rates().values()) == {1.0}
    assert not finetune.changes_with_time


def test_linear_probe_trains_the_head_alone() -> None:
    backbone = ResNet(1, 8)
    finetune = begun(LinearProbe(head_rate=3.0), backbone)
    assert finetune.rates() == dict.fromkeys(finetune.head.parameters(), 3.0)
    assert not finetune.changes_with_time
    assert not any(module.training for module in backbone.modules())


def test_head_then_full_trains_the_head_for_its_epochs() -> None:
    backbone = ResNet(1, 8)
    names = {name for name, _ in backbone.named_parameters()}
    finetune = begun(HeadThenFull(head_epochs=2), backbone)
    assert finetune.changes_with_time
    assert set(finetune.rates()) == {*backbone.parameters(), *finetune.head.parameters()}
    for epoch, expected in enumerate([set(), set(), names, names]):
        finetune.at_epoch(epoch)
        assert trained_names(backbone) == expected


@pytest.mark.parametrize(
    ("num_stages", "epochs_per_stage", "frozen"),
    [
        (4, 1, [6, 4, 2, 0, 0, 0]),
        (4, 2, [6, 6, 4, 4, 2, 2, 0, 0]),
        (2, 3, [6, 6, 6, 0, 0]),
        (5, 1, [6, 4, 3, 1, 0, 0]),
        (99, 1, [6, 5, 4, 3, 2, 1, 0, 0]),  # a layer each
    ],
)
def test_gradual_unfreezes_from_the_head_down(num_stages: int, epochs_per_stage: int, frozen: list[int]) -> None:
    finetune = begun(Gradual(num_stages, epochs_per_stage), MLP(1, 8, depth=6, width=4))
    assert [finetune.num_frozen_layers(epoch) for epoch in range(len(frozen))] == frozen
    finetune.at_epoch(0)
    for epoch, count in enumerate(frozen):
        finetune.at_epoch(epoch)
        expected = {name for layer in finetune.layers[count:] for name in layer}
        assert trained_names(finetune.backbone) == expected


@pytest.mark.parametrize(
    ("num_stages", "num_epochs", "frozen"),
    [(4, 8, [6, 6, 4, 4, 2, 2, 0, 0]), (3, 10, [6, 6, 6, 3, 3, 3, 0, 0, 0, 0]), (4, 4, [6, 4, 2, 0])],
)
def test_stages_of_gradual_are_even_parts_by_default(num_stages: int, num_epochs: int, frozen: list[int]) -> None:
    finetune = begun(Gradual(num_stages), MLP(1, 8, depth=6, width=4), num_epochs)
    assert [finetune.num_frozen_layers(epoch) for epoch in range(num_epochs)] == frozen


def test_what_is_frozen_evaluates_and_what_trains_trains() -> None:
    backbone = MLP(1, 8, depth=3, width=4, dropout=0.5, batch_norm=True)
    finetune = begun(Gradual(num_stages=4, epochs_per_stage=1), backbone)
    finetune.at_epoch(2)  # the last two of three layers
    modes = [type(layer).__name__ for layer in backbone.layers if layer.training]
    assert modes == ["Linear", "BatchNorm1d", "ReLU", "Dropout"] * 2
    finetune.at_epoch(3)
    assert all(module.training for module in backbone.modules() if list(module.parameters()))


@pytest.mark.parametrize(
    ("finetune", "num_epochs", "message"),
    [
        (HeadThenFull(3), 3, r"head_epochs=3: .* after 3 epochs, .* give epochs=4 or more, or finetune\.head_epochs=2"),
        (HeadThenFull(), None, r"counts epochs, and steps=… none: give steps=null and epochs=2 or more"),
        (Gradual(3, 2), 4, r"num_stages=3 with finetune\.epochs_per_stage=2: .* after 4 epochs, and there are 4"),
        (Gradual(), 2, r"num_stages=4 .* after 2 epochs, .* give epochs=3 or more, or finetune\.num_stages=2"),
        (Gradual(), 1, r"num_stages=4 .* after 2 epochs, .* give epochs=3 or more, or finetune=full"),
        (Gradual(), None, r"finetune\.num_stages=4 .* counts epochs, and steps=… none"),
        (BitFit(), 3, r"finetune=bitfit trains biases, and this backbone has none"),
        (Lora(), 3, r"finetune\.targets=null: .* no linear layer and no 1 × 1 .* give names of 0, 1"),
        (Lora(targets=["qkv"]), 3, r"finetune\.targets=qkv: .* of that name: give names of 0, 1"),
    ],
)
def test_way_that_cannot_be_gone_is_refused(finetune: Finetune, num_epochs: int | None, message: str) -> None:
    backbone = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.Conv2d(2, 2, 3, bias=False))
    with pytest.raises(ValueError, match=message):
        finetune.begin(backbone, LinearHead(2, 10), num_epochs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Finetune(head_rate=-1), r"finetune\.head_rate=-1"),
        (lambda: Finetune(batch_norm="off"), r"finetune\.batch_norm=off: expected train or eval"),
        (lambda: HeadThenFull(head_epochs=0), r"finetune\.head_epochs=0"),
        (lambda: Gradual(num_stages=1), r"finetune\.num_stages=1"),
        (lambda: Gradual(epochs_per_stage=0), r"finetune\.epochs_per_stage=0"),
        (lambda: Discriminative(decay=0), r"finetune\.decay=0"),
        (lambda: L2SP(alpha=-1), r"finetune\.alpha=-1"),
        (lambda: Lora(rank=0), r"finetune\.rank=0"),
        (lambda: Lora(dropout=1), r"finetune\.dropout=1"),
    ],
)
def test_setting_out_of_range_is_refused(make: Callable[[], Finetune], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet"])
def test_discriminative_rates_are_those_of_timm(name: str) -> None:
    import timm

    finetune = begun(Discriminative(decay=0.7), TimmBackbone(3, 32, name))
    rates = finetune.rates()
    network = timm.create_model(name)
    expected = {
        id(parameter): group["lr_scale"]
        for group in param_groups_layer_decay(network, layer_decay=0.7)
        for parameter in group["params"]
    }
    backbone = dict(finetune.backbone.named_parameters())
    for key, parameter in network.named_parameters():
        if f"network.{key}" in backbone:  # all but the classifier
            assert rates[backbone[f"network.{key}"]] == pytest.approx(expected[id(parameter)]), key
    assert len(rates) == len(list(network.parameters()))
    assert len({*rates.values()}) == len(finetune.layers) + 1


@pytest.mark.parametrize(
    "make", [lambda: CNN(1, 8), lambda: ViT(1, 8, depth=2, width=24), lambda: WideResNet(1, 8, 10)]
)
def test_bitfit_trains_the_biases_of_a_list_made_by_hand(make: Callable[[], nn.Module]) -> None:
    backbone = make()
    expected = {
        f"{path}.bias" for path, module in backbone.named_modules() if getattr(module, "bias", None) is not None
    }
    begun(BitFit(), backbone)
    assert trained_names(backbone) == expected


def test_l2sp_adds_the_gradient_of_its_penalty() -> None:
    torch.manual_seed(0)
    backbone = MLP(1, 4, depth=1, width=3, batch_norm=True)
    nn.init.normal_(backbone.layers[1].weight)  # type: ignore[arg-type]  # as weights that were loaded
    finetune = begun(L2SP(alpha=0.3, beta=0.2), backbone)
    head = finetune.head
    start = {name: parameter.detach().clone() for name, parameter in backbone.named_parameters()}
    with torch.no_grad():
        for parameter in [*backbone.parameters(), *head.parameters()]:
            parameter.add_(torch.randn_like(parameter))
    penalty = sum(0.3 / 2 * (w - start[name]).square().sum() for name, w in backbone.named_parameters())
    penalty = penalty + 0.2 / 2 * head[0].weight.square().sum()
    loss = head(backbone(torch.randn(5, 1, 4, 4))).logsumexp(1).sum()
    parameters = [*backbone.parameters(), *head.parameters()]
    expected = torch.autograd.grad(loss + penalty, parameters, retain_graph=True)
    loss.backward()
    finetune.adjust_gradients()
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_l2sp_takes_the_place_of_weight_decay() -> None:
    finetune = begun(L2SP(), MLP(1, 4, width=3))
    module = nn.ModuleList([finetune.backbone, finetune.head])
    groups = parameter_groups(module, 0.5, 0.1, finetune.rates(), finetune.undecayed())
    assert [group["weight_decay"] for group in groups] == [0.0]
    assert describe_groups(module, finetune.rates(), finetune.undecayed()).startswith("weight decay: 0 values (none)")


def test_l2sp_starts_from_the_same_point_when_the_network_is_built_again() -> None:
    starts = [list(network_of("finetune=l2sp")[0].finetune.start.values()) for _ in range(2)]  # type: ignore[attr-defined]
    assert starts[0]
    assert all(torch.equal(first, second) for first, second in zip(*starts, strict=True))


@pytest.mark.parametrize(
    "make",
    [
        lambda: MLP(1, 8, depth=2, width=12),
        lambda: ViT(1, 8, width=24, depth=2),
        lambda: ResNet(1, 8),
        lambda: TimmBackbone(1, 32, "test_efficientnet"),
        lambda: TimmBackbone(1, 32, "test_vit"),
    ],
)
def test_lora_starts_as_the_network_and_is_merged_into_its_keys(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    backbone = make().eval()
    size = 32 if isinstance(backbone, TimmBackbone) else 8
    images = torch.randn(3, 1, size, size)
    keys, outputs = backbone.state_dict().keys(), backbone(images)
    finetune = begun(Lora(rank=2), backbone)
    backbone.eval()
    assert torch.equal(backbone(images), outputs)
    adapters = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    assert adapters
    assert set(finetune.rates()) == {*adapters, *finetune.head.parameters()}
    with torch.no_grad():
        for parameter in adapters:
            parameter.normal_(std=0.1)
    adapted = backbone(images)
    assert not torch.allclose(adapted, outputs, atol=1e-3)
    merge_adapters(backbone)
    assert backbone.state_dict().keys() == keys
    torch.testing.assert_close(backbone(images), adapted, atol=1e-4, rtol=1e-4)


def test_lora_adds_the_scaled_product_to_the_named_layers_alone() -> None:
    torch.manual_seed(0)
    backbone = ViT(1, 8, width=24, depth=2)
    begun(Lora(rank=3, alpha=6.0, targets=["qkv"]), backbone)
    assert {name.partition(".lora_")[0] for name in trained_names(backbone)} == {
        f"blocks.{block}.attention.qkv" for block in range(2)
    }
    layer = backbone.blocks[0].attention.qkv
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    nn.init.normal_(b)
    inputs = torch.randn(5, 24)
    expected = nn.functional.linear(inputs, layer.base_layer.weight + 6.0 / 3 * b @ a, layer.base_layer.bias)
    torch.testing.assert_close(layer(inputs), expected)


def test_lora_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ValueError, match=r"needs the package peft: pip install 'leyden\[lora\]'"):
        begun(Lora(), MLP(1, 8))


def test_description_says_what_is_frozen_and_at_which_rates_the_rest_trains() -> None:
    finetune = begun(Discriminative(decay=0.5, head_rate=10.0), MLP(1, 2, depth=2, width=3))
    module = nn.ModuleList([finetune.backbone, finetune.head])
    last = describe_groups(module, finetune.rates()).splitlines()[-1]
    assert last == "values and their learning rates: 40 × 10, 12 × 0.5, 15 × 0.25"
    finetune = begun(LinearProbe(), MLP(1, 2, depth=2, width=3))
    module = nn.ModuleList([finetune.backbone, finetune.head])
    assert describe_groups(module, finetune.rates()).endswith("learning rates: 40 × 1, 27 frozen")


def test_stages_that_the_trainer_never_reaches_are_told(train_run: Train, caplog: pytest.LogCaptureFixture) -> None:
    train_run("finetune=gradual", "epochs=5", "trainer.max_epochs=2", *NORMED)
    assert "trainer.max_epochs=2 ends training before finetune has let all layers train" in caplog.text
    caplog.clear()
    train_run(
        "finetune=gradual",
        "finetune.num_stages=2",
        "finetune.epochs_per_stage=1",
        "epochs=5",
        "trainer.max_epochs=2",
        *NORMED,
    )
    assert "before finetune" not in caplog.text


def test_batch_norm_that_evaluates_keeps_its_statistics_over_a_run(train_run: Train) -> None:
    for way in ("full", "gradual", "head_then_full"):
        run = train_run(f"finetune={way}", "finetune.batch_norm=eval", "epochs=3", *NORMED)
        state = run.checkpoint()["state_dict"]
        statistics = {name: value for name, value in state.items() if "running_" in name}
        assert len(statistics) == 4
        for name, value in statistics.items():
            assert torch.equal(value, torch.full_like(value, float("var" in name))), (way, name)


def test_what_is_frozen_neither_learns_nor_drifts_over_a_run_that_goes_on(
    interrupted: Callable[..., FinishedRun],
) -> None:
    overrides = ["finetune=linear_probe", "epochs=3", *NORMED]
    before = network_of(*overrides)[0].backbone.state_dict()
    run = interrupted(*overrides, hook="on_train_batch_end", count=25)  # after a validation
    assert command_line.resume([str(run.directory)]) == 0
    after = run.checkpoint()["state_dict"]
    for name, value in before.items():
        assert torch.equal(value, after[f"backbone.{name}"]), name
    assert not torch.equal(after["head.0.weight"], network_of(*overrides)[0].head.state_dict()["0.weight"])


def test_layers_of_a_later_stage_are_as_they_came_until_it_begins(interrupted: Callable[..., FinishedRun]) -> None:
    overrides = ["finetune=gradual", "epochs=5", "finetune.epochs_per_stage=2", *NORMED]  # head, layer 2, layer 1
    before = network_of(*overrides)[0].backbone.state_dict()
    run = interrupted(*overrides, hook="on_train_batch_end", count=70)  # of 72 before the last stage
    after = run.checkpoint()["state_dict"]
    moved = {name for name, value in before.items() if not torch.equal(value, after[f"backbone.{name}"])}
    below = {name for name in before if name.startswith(("layers.1.", "layers.2."))}
    assert moved == before.keys() - below


@pytest.mark.parametrize("way", WAYS)
def test_what_is_tested_is_what_the_best_checkpoint_holds(way: str, train_run: Train) -> None:
    overrides = [f"finetune={way}", "epochs=3", *NORMED]
    run = train_run(*overrides)
    classifier, data = network_of(*overrides)
    classifier.load_state_dict(run.checkpoint("best")["state_dict"])
    classifier.eval()
    data.setup("test")
    right = total = 0
    with torch.no_grad():
        for batch in data.test_dataloader():
            right += int((classifier(classifier.augment.normalize(batch.images)).argmax(1) == batch.labels).sum())
            total += len(batch.labels)
    assert run.metrics["test/accuracy"] == pytest.approx(right / total)


def test_every_way_has_a_file_with_the_defaults_of_its_signature() -> None:
    targets = set()
    for way in WAYS:
        settings = dict(OmegaConf.load(CONFIG_DIRECTORY / "finetune" / f"{way}.yaml"))
        kind = getattr(leyden.finetune, settings.pop("_target_").rpartition(".")[2])
        targets.add(kind)
        assert kind.way == way
        for name, value in settings.items():
            assert inspect.signature(kind).parameters[name].default == value, (way, name)
    assert targets == {Finetune, *Finetune.__subclasses__()}


def test_first_layers_stay_frozen_where_they_are_to() -> None:
    backbone = CNN(1, 8)
    finetune = begun(Finetune(frozen_layers=2), backbone)
    frozen = {name for name, parameter in backbone.named_parameters() if not parameter.requires_grad}
    assert frozen == set(finetune.layers[0]) | set(finetune.layers[1])
    assert not finetune.changes_with_time
    with pytest.raises(ValueError, match=r"finetune\.frozen_layers=6 is more than the 5 layers"):
        begun(Finetune(frozen_layers=6), CNN(1, 8))


def test_scratch_begins_with_new_weights_whatever_the_config_has(train_run: Callable[..., FinishedRun]) -> None:
    first = train_run("epochs=1")
    new, scratch = (
        train_run("epochs=1", "seed=7"),
        train_run("epochs=1", "seed=7", "finetune=scratch", f"weights={first.directory}"),
    )
    ours, theirs = (
        torch.load(run.directory / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for run in (scratch, new)
    )
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    lite0 = compose_config("data=digits", "backbone=lite0", "finetune=scratch")
    classifier = build_classifier(lite0, instantiate(lite0.data))
    assert classifier.loaded is None
    assert classifier.backbone.fit is None
