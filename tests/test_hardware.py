"""Hardware: precision follows what the machine is good at and what the network gains by."""

import copy
import os
import platform
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from leyden.hardware import (
    choose_accelerator,
    choose_precision,
    cpu_multiplies_bfloat16,
    describe_device,
    skip_needless_search_for_gpus,
    train_depthwise_in_float32,
)


def test_precision_that_is_given_stands() -> None:
    for precision in ("32", "bf16-mixed", "16-mixed"):
        assert choose_precision(precision, "cpu", 10**9) == precision
    assert choose_precision(32, "cpu", 1) == "32"


def test_small_networks_stay_in_float32() -> None:
    assert choose_precision("auto", "cpu", 1_000) == "32-true"


def test_large_networks_use_bfloat16_where_the_cpu_multiplies_it() -> None:
    expected = "bf16-mixed" if cpu_multiplies_bfloat16() else "32-true"
    assert choose_precision("auto", "cpu", 10**6) == expected


def test_unknown_precision_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"trainer\.precision=bf15: expected auto, 32"):
        choose_precision("bf15", "cpu", 1)
    with pytest.raises(ValueError, match="bf16-true"):
        choose_precision("bf16-true", "cpu", 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_accelerator_that_is_not_here_is_named() -> None:
    with pytest.raises(ValueError, match=r"trainer\.accelerator=cuda, but PyTorch finds no CUDA"):
        choose_accelerator("cuda")
    with pytest.raises(ValueError, match=r"^device=cuda, but .* no CUDA device here: give device=cpu$"):
        choose_accelerator("cuda", "device")
    with pytest.raises(ValueError, match="expected one of auto, cpu"):
        choose_accelerator("cud")
    assert choose_accelerator("cpu") == "cpu"


class Padded(nn.Conv2d):
    """A kind of one's own, as timm has them."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(nn.functional.pad(images, (0, 1, 0, 1)))


@pytest.fixture
def depthwise() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), Padded(8, 16, 2, groups=8))
    train_depthwise_in_float32(network)
    return network


def test_depthwise_convolutions_train_in_float32_beside_bfloat16(depthwise: nn.Module) -> None:
    images = torch.rand(2, 3, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        logits = depthwise(images)
    logits.float().sum().backward()

    first, second, third = (module.weight.detach().clone().requires_grad_() for module in depthwise)
    biases = [module.bias.detach() for module in depthwise]
    middle = nn.functional.conv2d(images.bfloat16(), first.bfloat16(), biases[0].bfloat16())
    middle = nn.functional.conv2d(middle.float(), second, biases[1], groups=8).bfloat16()
    padded = nn.functional.pad(middle.float(), (0, 1, 0, 1))
    expected = nn.functional.conv2d(padded, third, biases[2], groups=8).bfloat16()
    expected.float().sum().backward()

    assert torch.equal(logits, expected)
    for module, weight in zip(depthwise, (first, second, third), strict=True):
        assert torch.equal(module.weight.grad, weight.grad)


@pytest.mark.parametrize("way", ["no gradients", "frozen", "float32"])
def test_depthwise_convolutions_that_do_not_train_are_left_alone(depthwise: nn.Module, way: str) -> None:
    plain = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), Padded(8, 16, 2, groups=8))
    plain.load_state_dict(depthwise.state_dict())
    for network in (plain, depthwise):
        network.requires_grad_(way != "frozen")
    with torch.set_grad_enabled(way != "no gradients"), torch.autocast("cpu", torch.bfloat16, way != "float32"):
        images = torch.rand(2, 3, 9, 9)
        assert torch.equal(depthwise(images), plain(images))


def test_depthwise_convolutions_keep_their_names_and_can_be_copied(depthwise: nn.Module) -> None:
    assert [type(module).__name__ for module in depthwise] == ["Conv2d", "Conv2d", "Padded"]
    assert type(depthwise[0]) is nn.Conv2d  # type: ignore[index]
    copied = copy.deepcopy(depthwise)
    images = torch.rand(2, 3, 9, 9)
    assert torch.equal(copied(images), depthwise(images))


def test_device_is_described_in_plain_types() -> None:
    device = describe_device("cpu")
    assert device["kind"] == "cpu"
    assert device["name"]
    assert device["threads"] == torch.get_num_threads()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc, whose malloc is set")
@pytest.mark.parametrize("place", ["here()", "thread = threading.Thread(target=here); thread.start(); thread.join()"])
@pytest.mark.parametrize("num_pieces", [4, 40])
def test_freed_memory_is_kept_for_the_next_step(num_pieces: int, place: str) -> None:
    """The kernel's own count of resident pages, after 320 MiB were taken in pieces and freed."""
    script = (
        "import sys, threading, torch; from leyden.hardware import keep_freed_memory;"
        "sys.argv[1] == 'keep' and keep_freed_memory();"
        f"here = lambda: [torch.ones(80 * 2**20 // {num_pieces}) for _ in range({num_pieces})] and None; {place};"
        "print(open('/proc/self/statm').read().split()[1])"
    )
    kept, returned = (
        int(subprocess.run([sys.executable, "-c", script, word], capture_output=True, check=True).stdout)
        for word in ("keep", "return")
    )
    assert (kept - returned) * os.sysconf("SC_PAGE_SIZE") > 200 * 2**20


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_search_for_gpus_is_not_repeated_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # as importing Lightning leaves it
    skip_needless_search_for_gpus()
    assert os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] == "0"
    assert not torch.cuda.is_available()
