"""Maps, features > **page** > explain.html: one file that needs no network.

The template is page.html.j2; page.css adds to the style of the report.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from leyden.data.facts import DataFacts
from leyden.data.labels import describe_label
from leyden.explain.features import Points
from leyden.explain.sanity import ALIKE
from leyden.pages import STYLE, fill, for_script, image_address, plotly, sources, write_html

HERE = Path(__file__).parent


def write_page(facts: Mapping[str, Any], points: Points | None, data: DataFacts, directory: Path) -> Path:
    """Writes explain.html, with the pictures of `directory` in it; returns its path."""
    drawn = [path for path in (directory / "overlays.png", directory / "filters.png") if path.is_file()]
    pictures = {path.stem: image_address(path.read_bytes()) for path in drawn}
    html = fill(
        HERE / "page.html.j2",
        css=sources(STYLE, HERE / "page.css"),
        script=sources(HERE / "page.js"),
        title=data.name,
        facts=facts,
        verdicts={name: verdict(found) for name, found in facts["sanity"].items()},
        pictures=pictures,
        traces=None if points is None else for_script(traces(points, data)),
        plotly=None if points is None else plotly(),
    )
    path = directory / "explain.html"
    write_html(path, html)
    return path


def verdict(found: Mapping[str, Any]) -> str:
    """What a sanity check says, in words."""
    how = f"rank correlation {found['correlation']:.2f} with maps of shuffled weights"
    if found["is_passed"]:
        return f"goes by the weights ({how})"
    return f"hardly goes by the weights ({how}, {ALIKE} or more): it shows the image more than the network"


def traces(points: Points, data: DataFacts) -> list[dict[str, Any]]:
    """A series of points for each class, right and wrong ones told apart; of several labels or numbers one series."""
    if data.task != "single_label":
        words = [describe_label(label, data.class_names) for label in points.labels]
        return [{"name": "images", "wrong": False, **_points(points, np.arange(len(words)), words)}]
    answers = points.answers.argmax(1)
    series = []
    for number, name in enumerate(data.class_names):
        for is_wrong in (False, True):
            rows = ((points.labels == number) & ((answers != points.labels) == is_wrong)).nonzero().flatten().numpy()
            words = [_in_words(points.answers[row], name, data) for row in rows]
            if len(rows):
                series.append({"name": name, "wrong": is_wrong, "class": number, **_points(points, rows, words)})
    return series


def _points(points: Points, rows: Any, words: list[str]) -> dict[str, Any]:
    places = points.places[rows]
    numbers = points.indices[rows].tolist()
    told = [f"image {number}<br>{text}" for number, text in zip(numbers, words, strict=True)]
    return {"x": places[:, 0].tolist(), "y": places[:, 1].tolist(), "text": told}


def _in_words(probabilities: Tensor, label: str, data: DataFacts) -> str:
    answer = int(probabilities.argmax())
    return f"is {label}<br>answer {data.class_names[answer]}, {float(probabilities[answer]):.0%}"
