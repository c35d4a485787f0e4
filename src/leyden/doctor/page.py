"""Findings > **page** > doctor.html, doctor.json: one file that needs no network, and the same for programs.

The template is page.html.j2; page.css adds to the style of the report.
"""

import io
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from leyden.data import ImageDataModule
from leyden.data.colours import to_grey_or_rgb
from leyden.doctor.findings import Finding
from leyden.doctor.subject import PARTS, Subject
from leyden.image_formats import open_image
from leyden.pages import STYLE, fill, image_address, sources, write_html
from leyden.report.words import date_in_words, many
from leyden.run import write_atomically

HERE = Path(__file__).parent
PIXELS = 96  # of a picture's longer side
SHOWN_GROUPS, SHOWN_OF_A_GROUP = 8, 6
SHOWN_SINGLE = 24
LISTED = 1000  # groups of a finding in doctor.json
FORMAT = 1


class Picture(NamedTuple):
    """A small copy of an image, and what stands below."""

    address: str | None  # a data: address; None of an image that cannot be shown
    name: str
    words: str


@dataclass
class Examination:
    """All that was found of a data set."""

    subject: Subject
    data: ImageDataModule
    findings: Sequence[Finding]  # errors first
    facts: Mapping[str, str]  # name and value of what has no verdict
    words: Mapping[int, str] = field(default_factory=dict)  # more to say of an image

    @property
    def verdict(self) -> str:
        """The whole in a sentence."""
        counts = [sum(finding.severity == kind for finding in self.findings) for kind in ("error", "warning")]
        errors, warned = many(counts[0], "error"), many(counts[1], "warning")
        if counts[0]:
            return f"Not fit for training: {errors}, {warned}."
        return f"Fit for training, {warned} to look at." if counts[1] else "Fit for training, nothing to object to."


def write(examination: Examination, directory: Path) -> Path:
    """Writes doctor.html and doctor.json to a directory; returns the path of the page."""
    directory.mkdir(parents=True, exist_ok=True)
    created = datetime.now().astimezone().isoformat(timespec="minutes")
    write_atomically(directory / "doctor.json", json.dumps(to_json(examination, created), ensure_ascii=True) + "\n")
    path = directory / "doctor.html"
    write_html(path, to_html(examination, created))
    return path


def to_json(examination: Examination, created: str) -> dict[str, Any]:
    """The same as the page, with more of the images and without their pictures."""
    subject = examination.subject

    def described(index: int) -> dict[str, str]:
        part, words = PARTS[subject.parts[index]], examination.words.get(index, "")
        return {"image": subject.name_of(index), "label": subject.label_of(index), "part": part, "words": words}

    return {
        "format": FORMAT,
        "created": created,
        "data": subject.name,
        "verdict": examination.verdict,
        "facts": dict(examination.facts),
        "counts": {name: dict(zip(PARTS, row, strict=True)) for name, *row in count_rows(subject)},
        "findings": [
            {
                "kind": finding.kind,
                "severity": finding.severity,
                "sentence": finding.sentence,
                "advice": finding.advice,
                "num_groups": len(finding.groups),
                "groups": [[described(index) for index in group] for group in finding.groups[:LISTED]],
            }
            for finding in examination.findings
        ],
    }


def to_html(examination: Examination, created: str) -> str:
    """The page with its style and its pictures inside it."""
    rows = count_rows(examination.subject)
    used = [number for number in range(len(PARTS)) if any(row[1 + number] for row in rows)]
    return fill(
        HERE / "page.html.j2",
        title=examination.subject.name,
        verdict=examination.verdict,
        date=date_in_words(created),
        created=created,
        findings=[(finding, pictures(finding, examination), left_out(finding)) for finding in examination.findings],
        facts=examination.facts,
        parts=[PARTS[number] for number in used],
        counts=[(row[0], [row[1 + number] for number in used]) for row in rows],
        most=max((sum(row[1:]) for row in rows), default=1) or 1,
        css=sources(STYLE, HERE / "page.css"),
    )


def count_rows(subject: Subject) -> list[tuple[Any, ...]]:
    """Each class with its images in each part; of numbers a row of all."""
    if not subject.class_names:
        return [("all images", *np.bincount(subject.parts, minlength=len(PARTS)).tolist())]
    return [(name, *row) for name, row in zip(subject.class_names, subject.counts().tolist(), strict=True)]


def pictures(finding: Finding, examination: Examination) -> list[list[Picture]]:
    """The groups that are shown; images that stand alone are one row."""
    if all(len(group) == 1 for group in finding.groups):
        alone = [index for group in finding.groups[:SHOWN_SINGLE] for index in group]
        return [[_picture(index, examination) for index in alone]] if alone else []
    return [
        [_picture(index, examination) for index in group[:SHOWN_OF_A_GROUP]] for group in finding.groups[:SHOWN_GROUPS]
    ]


def left_out(finding: Finding) -> str:
    """How many are not shown, in words."""
    alone = all(len(group) == 1 for group in finding.groups)
    shown = SHOWN_SINGLE if alone else SHOWN_GROUPS
    more = len(finding.groups) - shown
    return f"{many(more, 'image' if alone else 'group')} more: doctor.json lists them." if more > 0 else ""


def _picture(index: int, examination: Examination) -> Picture:
    subject = examination.subject
    label, part = subject.label_of(index), PARTS[subject.parts[index]]
    more = examination.words.get(index)
    words = f"{label}, {part}" + (f"; {more}" if more else "")
    return Picture(_address(index, examination.data), subject.name_of(index), words)


def _address(index: int, data: ImageDataModule) -> str | None:
    """A JPEG of the image as text, or a PNG where it is small enough for pixels to count."""
    try:
        image = _small_copy(index, data)
    except Exception:  # what cannot be read is told by its finding
        return None
    kind, settings = ("png", {"optimize": True}) if max(image.size) <= PIXELS // 2 else ("jpeg", {"quality": 80})
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return image_address(buffer.getvalue(), kind)


def _small_copy(index: int, data: ImageDataModule) -> Image.Image:
    if data.files is None:
        assert data.images is not None
        pixels: NDArray[np.uint8] = data.images[index].permute(1, 2, 0).cpu().numpy()
        image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # such a one is told, not shown
            path = data.files.path(index)
            with data.files.open_file(path) as stream:
                image = upright(stream)
    image.thumbnail((PIXELS, PIXELS))
    return image


def upright(stream: BinaryIO) -> Image.Image:
    """A file's image in RGB, as bright as training sees it: of 16 bits too, which Pillow alone would make white."""
    with open_image(stream) as file:
        file.draft("RGB", (2 * PIXELS, 2 * PIXELS))
        ImageOps.exif_transpose(file, in_place=True)
        return to_grey_or_rgb(file, "RGB")
