"""Hardware: precision follows what the machine is good at and what the network gains by."""

import pytest
import torch

from leyden.hardware import choose_accelerator, choose_precision, cpu_multiplies_bfloat16, describe_device


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
    with pytest.raises(ValueError, match="expected one of auto, cpu"):
        choose_accelerator("cud")
    assert choose_accelerator("cpu") == "cpu"


def test_device_is_described_in_plain_types() -> None:
    device = describe_device("cpu")
    assert device["kind"] == "cpu"
    assert device["name"]
    assert device["threads"] == torch.get_num_threads()
