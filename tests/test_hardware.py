"""Hardware: precision follows what the machine is good at and what the network gains by."""

import os
import platform
import subprocess
import sys

import pytest
import torch

from leyden.hardware import (
    choose_accelerator,
    choose_precision,
    cpu_multiplies_bfloat16,
    describe_device,
    skip_needless_search_for_gpus,
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
