"""Options > **explain** > page: opens the network and the images, makes maps, checks them, writes what came of it."""

import contextlib
import json
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hydra.errors import HydraException
from torch import Tensor, nn

from leyden.augment.geometry import cut_centre
from leyden.errors import explain as in_a_sentence
from leyden.errors import why_unreadable
from leyden.evaluate.subject import batches, open_subject, split_words
from leyden.examples import DIRECTORY as EXAMPLES
from leyden.explain.drawing import filters, first_filters, overlays
from leyden.explain.features import Points, points_of
from leyden.explain.grad_cam import grad_cam, spatial_layer
from leyden.explain.integrated_gradients import brightness, integrated_gradients
from leyden.explain.options import Options
from leyden.explain.page import verdict, write_page
from leyden.explain.sanity import Check, check
from leyden.predict.inputs import find_inputs
from leyden.run import is_writable, working_directory, write_atomically
from leyden.trained import Trained, modules_of, open_network, probabilities_of, read_for

log = logging.getLogger(__name__)

CAM, INTEGRATED = "Grad-CAM", "integrated gradients"
MOST_IMAGES = 64  # which a picture is drawn of
MOST_POINTS = 2000


class Seen(NamedTuple):
    """Images that are explained."""

    names: list[str]
    images: Tensor  # uint8 [N, C, stored, stored]


class Explained(NamedTuple):
    """What speaks for the answers, and whether it goes by the weights."""

    maps: dict[str, Tensor]  # [N, H, W] of each way
    checks: dict[str, Check]
    layer: str | None  # of Grad-CAM
    error: float  # of the integrated gradients' sums


def explain(asked: Options, words: Sequence[str]) -> None:
    """`leyden explain run=…`: overlays, their check, first filters and a map of features, on one page.

    Raises:
        ValueError: the network is an export, which has no layers to look into, or no image is there.
    """
    network = open_network(asked.run, asked.checkpoint)
    if not isinstance(network, Trained):
        raise ValueError(f"run={asked.run} is an export, which has no layers to look into: give the run's directory")
    seen = images_of(asked, network)
    directory = asked.output or place(network.directory)
    directory.mkdir(parents=True, exist_ok=True)  # what cannot be written is told before the work
    normalised = network.classifier.augment.normalize(seen.images.to(network.device)).float()
    module = modules_of(network).eval()
    with torch.inference_mode():
        outputs = module(normalised).float()
    answers = answers_asked(asked.answer, outputs, network)
    made = explained(module, normalised, answers)
    points = features_of_data(network, words) if asked.features else None
    titles = [title(*row, network) for row in zip(seen.names, outputs, answers, strict=True)]
    overlays(cut_centre(seen.images, network.facts.image_size), made.maps, titles, directory / "overlays.png")
    weights = first_filters(network.classifier.backbone)
    if weights is not None:
        filters(weights, directory / "filters.png")
    else:  # that of another network
        (directory / "filters.png").unlink(missing_ok=True)
    told = described(network, seen, made, points)
    write_atomically(directory / "explain.json", json.dumps(told, indent=1) + "\n")
    print(in_words(told, write_page(told, points, network.facts, directory)))


def images_of(asked: Options, network: Trained) -> Seen:
    """The first images that can be read of those asked for; without any asked for, the run's own examples.

    Raises:
        ValueError: there is none.
    """
    if not 1 <= asked.num_images <= MOST_IMAGES:
        raise ValueError(f"num_images={asked.num_images} is out of range: give 1 to {MOST_IMAGES}")
    if asked.input is not None:
        paths = find_inputs(asked.input, "path", None).paths
    else:
        paths = iter(sorted(map(str, (network.directory / EXAMPLES).glob("*.png"))))
    names, images = [], []
    for path in paths:
        try:
            images.append(read_for(network.facts, path))
        except Exception as error:  # Pillow raises whatever a format's reader meets
            log.warning("%s cannot be read (%s): it is left out", path, why_unreadable(error))
            continue
        names.append(path)
        if len(names) == asked.num_images:
            break
    if not names:
        raise ValueError(
            f"{asked.input or network.directory}: no image is there to explain: give input=<an image or a folder>"
        )
    return Seen(names, torch.stack(images))


def answers_asked(name: str | None, outputs: Tensor, network: Trained) -> Tensor:
    """The class that is explained of each image, int64 [N]: the likeliest, or the one that was asked about."""
    facts = network.facts
    if name is None:
        return outputs.argmax(1) if outputs.ndim == 2 else torch.zeros(len(outputs), dtype=torch.int64)
    if name not in facts.class_names:
        raise ValueError(f"answer={name} is no class of the run: it has {', '.join(facts.class_names) or 'none'}")
    return torch.full((len(outputs),), facts.class_names.index(name), device=outputs.device)


def explained(module: nn.Module, images: Tensor, answers: Tensor) -> Explained:
    """Maps of every way that the network allows, and their sanity checks."""
    shares = integrated_gradients(module, images, answers)
    ways: dict[str, Callable[[nn.Module], Tensor]] = {}
    layer = spatial_layer(module, images, answers)
    if layer is None:
        log.warning("this network has no layer with places in the image: Grad-CAM is left out")
    else:
        ways[CAM] = partial(grad_cam, images=images, answers=answers, layer=layer.name)
    ways[INTEGRATED] = lambda network: brightness(integrated_gradients(network, images, answers).pixels)
    maps = {name: brightness(shares.pixels) if name == INTEGRATED else way(module) for name, way in ways.items()}
    checks = {name: check(maps[name], way, module) for name, way in ways.items()}
    name = f"{layer.name} ({layer.height} × {layer.width})" if layer else None
    return Explained(maps, checks, name, shares.error)


def features_of_data(network: Trained, words: Sequence[str]) -> Points | None:
    """The map of the test images' features; None, with a warning, where the data is gone."""
    of_data, _ = split_words(words)
    try:
        with contextlib.chdir(working_directory(network.directory)):
            subject = open_subject(of_data, network.config, network.run["data"], network.facts, "auto")
            chosen = subject.indices
            if len(chosen) > MOST_POINTS:
                chosen = chosen[torch.linspace(0, len(chosen) - 1, MOST_POINTS).long()]
            return points_of(network, batches(subject, network.facts, chosen))
    except (ValueError, OSError, ImportError, HydraException) as error:
        if of_data:
            raise
        log.warning("no map of features (%s); if the run's data lies elsewhere, give data.root=…", in_a_sentence(error))
        return None


def place(directory: Path) -> Path:
    """Where results go: below the run, or here where it cannot be written or is a file."""
    return (directory if is_writable(directory) else Path.cwd()) / "explain"


def title(name: str, output: Tensor, answer: Tensor, network: Trained) -> str:
    """What stands above an image: its file, and the answer with how sure it is."""
    facts = network.facts
    short = Path(name).name
    if facts.task == "regression":
        return f"{short}\n{float(output):.4g}"
    chance = float(probabilities_of(output[None] / network.test_time.temperature, facts.task)[0, answer])
    return f"{short}\n{facts.class_names[int(answer)]} {chance:.0%}"


def described(network: Trained, seen: Seen, made: Explained, points: Points | None) -> dict[str, Any]:
    """What explain.json says."""
    return {
        "run": str(network.directory),
        "checkpoint": str(network.path),
        "images": seen.names,
        "grad_cam_layer": made.layer,
        "integrated_gradients_error": made.error,
        "sanity": {
            name: {"correlation": check.correlation, "is_passed": check.is_passed}
            for name, check in made.checks.items()
        },
        "features": None if points is None else len(points.labels),
    }


def in_words(told: dict[str, Any], path: Path) -> str:
    """The result in a few lines."""
    lines = [("images", f"{len(told['images'])}, the first {told['images'][0]}")]
    lines += [(name, verdict(found)) for name, found in told["sanity"].items()]
    if told["features"]:
        lines.append(("features", f"of {told['features']:,} images on a plane"))
    lines.append(("look at it", str(path)))
    return "\n".join(f"{label:21} {text}" for label, text in lines)
