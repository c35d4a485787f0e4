"""Weights > **tensors into a network** > backbone: what fits where, and what is adapted."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from leyden.checkpoint import file_digest

POSITIONS = ("position_embedding", "pos_embed")  # as ours and timm's call them
CLASSIFIERS = ("head", "fc", "classifier", "last_linear", "head_dist")


class Fit(NamedTuple):
    """How weights were put into a network."""

    source: str
    digest: str  # SHA-256 of the file
    num_tensors: int
    adapted: str  # how the first convolution met another number of channels; empty where it needed not
    resized: str  # position embeddings, likewise
    left_out: list[str]  # tensors that the backbone has no place for: a classifier's


def put(network: nn.Module, tensors: dict[str, Tensor], source: str, file: Path) -> Fit:
    """Loads tensors into a network, its first convolution and position embeddings adapted where they must be.

    Their names may have a prefix, as `module.`. Those of a classifier have no place in it.

    Raises:
        ValueError: they are of another architecture; says how many fit, and the first that does not.
    """
    own = network.state_dict()
    prefix = _prefix(own, tensors)
    given = {name: tensors[prefix + name] for name in own if prefix + name in tensors}
    adapted = _adapt_first_convolution(own, given)
    resized = _resize_positions(own, given)
    fitting = {name for name, tensor in given.items() if tensor.shape == own[name].shape}
    missing = [name for name in own if name not in fitting and not name.endswith("num_batches_tracked")]
    left_out = [name.removeprefix(prefix) for name in tensors if name.removeprefix(prefix) not in own]
    foreign = [name for name in left_out if name.split(".")[0] not in CLASSIFIERS]
    if missing or foreign:
        first = (missing or foreign)[0]
        here = f"{tuple(own[first].shape)} here" if first in own else "absent here"
        there = f"{tuple(given[first].shape)} there" if first in given else "absent there" if first in own else "there"
        raise ValueError(
            f"weights: {file} is of another architecture: {len(fitting)} of the backbone's {len(own)} tensors fit, "
            f"{len(foreign)} of its own have no place; the first that does not: {first}, {there}, {here}"
        )
    for name, tensor in given.items():
        if own[name].is_floating_point() and not (tensor.is_floating_point() and tensor.isfinite().all()):
            what = "values that are not finite" if tensor.is_floating_point() else f"whole numbers ({tensor.dtype})"
            raise ValueError(f"weights: {file} has {what} in {name}, where weights are expected: is it damaged?")
    network.load_state_dict(given, strict=False)
    return Fit(source, file_digest(file), len(fitting), adapted, resized, left_out)


def _prefix(own: Iterable[str], tensors: dict[str, Tensor]) -> str:
    """What stands before most names there, as `module.` or `backbone.`."""
    prefixes: Counter[str] = Counter()
    for name in own:
        prefixes.update(given[: -len(name)] for given in tensors if given == name or given.endswith(f".{name}"))
    return max(prefixes, key=lambda prefix: (prefixes[prefix], -len(prefix)), default="")


def _adapt_first_convolution(own: dict[str, Tensor], given: dict[str, Tensor]) -> str:
    from timm.models import adapt_input_conv

    for name, tensor in given.items():
        if tensor.ndim != 4 or tensor.shape == own[name].shape:
            continue
        channels = own[name].shape[1]
        if tensor.shape[0] == own[name].shape[0] and tensor.shape[2:] == own[name].shape[2:]:
            try:
                given[name] = adapt_input_conv(channels, tensor)
            except (NotImplementedError, AssertionError):  # for timm, weights have three channels, or few into one
                return ""
            summed = f"summed over its {tensor.shape[1]} channels"
            return f"{name} {summed if channels == 1 else f'repeated for {channels} channels'}"
        return ""
    return ""


def _resize_positions(own: dict[str, Tensor], given: dict[str, Tensor]) -> str:
    """Bicubic, as the grid of patches grows or shrinks; what is not a patch's stays."""
    from timm.layers import resample_abs_pos_embed

    for name, tensor in given.items():
        if not name.endswith(POSITIONS) or tensor.ndim != 3 or tensor.shape == own[name].shape:
            continue
        others = [count for count in (0, 1, 2) if _is_square(tensor.shape[1] - count)]
        others = [count for count in others if _is_square(own[name].shape[1] - count)]
        if not others or tensor.shape[2] != own[name].shape[2]:
            return ""
        size = round((own[name].shape[1] - others[0]) ** 0.5)
        before = round((tensor.shape[1] - others[0]) ** 0.5)
        given[name] = resample_abs_pos_embed(tensor, [size, size], num_prefix_tokens=others[0])
        return f"{name} from {before} x {before} to {size} x {size}"
    return ""


def _is_square(count: int) -> bool:
    return count > 0 and round(count**0.5) ** 2 == count
