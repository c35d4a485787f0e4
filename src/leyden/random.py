"""Data > **randomness** > augment: every random number is a function of where it is used, not of what came before.

A counter-based generator (Salmon et al. 2011) hashes its position: whoever knows seed, epoch and image index knows the
draw, in any batch, on any device, after any interruption. The hash is SplitMix64's finaliser (Steele et al. 2014).
"""

import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15
FIRST = 0xBF58476D1CE4E5B9
SECOND = 0x94D049BB133111EB
MASK = 2**64 - 1


def mix_seed(*numbers: int) -> int:
    """Mixes any integers, in their order, into one seed in [0, 2⁶³)."""
    state = 0
    for number in numbers:
        state = _mix((state + GOLDEN + number) & MASK)
    return state >> 1


def seed_generators(seed: int, device: torch.device) -> None:
    """Seeds the generators that dropout on `device` draws from.

    `torch.manual_seed` does too, but for a CUDA that is not in use it keeps a stack trace of every call.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def _mix(value: int) -> int:
    value = ((value ^ (value >> 30)) * FIRST) & MASK
    value = ((value ^ (value >> 27)) * SECOND) & MASK
    return value ^ (value >> 31)


def uniform(key: int, indices: Tensor, num_draws: int) -> Tensor:
    """Draws float32 [B, num_draws] in [0, 1): a pure function of key, index (int64 [B]) and the draw's number."""
    draws = torch.arange(1, num_draws + 1, device=indices.device) * _signed(GOLDEN)  # [D]
    state = _mix_tensor(indices * _signed(FIRST) + _signed(key))[:, None] + draws  # [B, D]
    bits = _shift_right(_mix_tensor(state), 40)  # the highest 24: as many as a float32 holds exactly
    return bits * 2.0**-24


def _mix_tensor(value: Tensor) -> Tensor:
    value = (value ^ _shift_right(value, 30)) * _signed(FIRST)
    value = (value ^ _shift_right(value, 27)) * _signed(SECOND)
    return value ^ _shift_right(value, 31)


def _shift_right(value: Tensor, bits: int) -> Tensor:
    """The shift of an unsigned number; torch's own, on int64, would copy the sign down."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _signed(number: int) -> int:
    """The int64 with the same 64 bits; products and sums of int64 tensors wrap around as unsigned ones do."""
    number &= MASK
    return number - 2**64 if number >= 2**63 else number
