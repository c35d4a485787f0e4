"""chapters/*.yaml > **claims** > effects: what is claimed, and what would refute it, as written before any run."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from leyden.config import suggest

if TYPE_CHECKING:
    from leyden.lesson.verdict import Side  # which imports what judges: help reads the claims without it

T = TypeVar("T")

DIRECTORY = Path(__file__).parent / "chapters"
METRIC = "metric"  # of a side: the key that names another metric than the contrast's


@dataclass(frozen=True)
class Contrast:
    """An effect and where it is predicted to lie.

    Of a study it is a sum of sides minus a sum of others, each a setting named by some of its factors: of settings that
    fit, the one that validation likes best counts, or with `over: mean` the mean of all. Of a measurement it is a
    quantity by its name.
    """

    name: str
    above: float | None = None
    below: float | None = None
    of: Sequence[Mapping[str, Any]] = ()
    minus: Sequence[Mapping[str, Any]] = ()
    metric: str = "test/accuracy"
    over: str = "best"
    measured: str = ""
    unit: str = ""
    is_share: bool = False  # whether what is measured is told in per cent

    @property
    def side(self) -> "Side":
        """Where the effect is predicted to lie."""
        return "below" if self.above is None else "above"

    @property
    def bound(self) -> float:
        """Of what."""
        bound = self.below if self.above is None else self.above
        assert bound is not None
        return bound


@dataclass(frozen=True)
class StudyPicture:
    """A metric of a study along one factor, with a line for each level of another; or curves over epochs."""

    title: str
    metric: str = "test/accuracy"
    along: str = ""
    by: str = ""
    at: Mapping[str, Any] = field(default_factory=dict)
    curves: Sequence[str] = ()


@dataclass(frozen=True)
class Claim:
    """A sentence of the lesson in our own words, and what tests it."""

    id: str
    chapter: int
    title: str
    sentence: str
    prediction: str
    contrasts: Sequence[Contrast]
    source: str = ""  # the paper that it goes back to
    study: str = ""  # a preset of conf/study
    words: Sequence[str] = ()  # of the study's command line, beside it
    measure: str = ""  # a function of leyden.lesson.measurements
    fast: bool = False  # whether --fast tests it
    notes: Sequence[Mapping[str, str]] = ()  # `when` the contrasts come out so, what more the page `says`
    pictures: Sequence[StudyPicture] = ()


@dataclass(frozen=True)
class Lesson:
    """All claims, in their order, and what the chapters are called."""

    chapters: Mapping[int, str]
    claims: Sequence[Claim]


def read_lesson(directory: Path = DIRECTORY) -> Lesson:
    """Reads the claims of all chapters, a file each.

    Raises:
        ValueError: a key is unknown or missing, or a contrast has no prediction; names the claim and the file.
    """
    chapters, claims = {}, []
    for path in sorted(directory.glob("*.yaml"), key=lambda path: int(path.stem)):
        content, number = yaml.safe_load(path.read_text(encoding="utf-8")), int(path.stem)
        chapters[number] = content["title"]
        claims += [
            _claim(name, {**one, "chapter": number}, f"{path}: {name}") for name, one in content["claims"].items()
        ]
    return Lesson(chapters, claims)


def choose(lesson: Lesson, names: Sequence[str], is_fast: bool) -> list[Claim]:
    """The claims of these names, or all; of them, with `is_fast`, those that --fast tests.

    Raises:
        ValueError: there is no claim of a name, names the nearest; or --fast does not test one that is named.
    """
    known = [claim.id for claim in lesson.claims]
    for name in names:
        if name not in known:
            raise ValueError(f"there is no claim '{name}': {suggest(name, known)}")
    if is_fast and (slow := [claim.id for claim in lesson.claims if claim.id in names and not claim.fast]):
        raise ValueError(f"--fast does not test {', '.join(slow)}: leave --fast out, or name others")
    return [claim for claim in lesson.claims if (not names or claim.id in names) and (claim.fast or not is_fast)]


def _claim(name: str, content: Mapping[str, Any], place: str) -> Claim:
    contrasts = [_contrast(one, place) for one in content.get("contrasts", ())]
    pictures = [_made(StudyPicture, one, place) for one in content.get("pictures", ())]
    claim = _made(Claim, {**content, "id": name, "contrasts": contrasts, "pictures": pictures}, place)
    if not claim.contrasts:
        raise ValueError(f"{place} has no contrasts: give one that a run could refute")
    if not (claim.study or claim.measure):
        raise ValueError(f"{place} has neither study nor measure: nothing would test it")
    for note in claim.notes:
        if note.keys() != {"when", "says"} or len(note["when"].split()) != len(contrasts):
            raise ValueError(f"{place}: a note has `when`, a mark for each of {len(contrasts)} contrasts, and `says`")
    return claim


def _contrast(content: Mapping[str, Any], place: str) -> Contrast:
    sides = {
        key: content[key] if isinstance(content[key], list) else [content[key]]
        for key in ("of", "minus")
        if key in content
    }
    contrast = _made(Contrast, {**content, **sides}, place)
    if (contrast.above is None) == (contrast.below is None):
        raise ValueError(f"{place}, {contrast.name}: give one of above and below, where the effect is predicted to lie")
    if bool(contrast.of) == bool(contrast.measured):
        raise ValueError(f"{place}, {contrast.name}: give one of `of`, settings of the study, and `measured`")
    return contrast


def _made(kind: type[T], content: Mapping[str, Any], place: str) -> T:
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    for key in content:
        if key not in known:
            raise ValueError(f"{place} has an unknown key '{key}': {suggest(str(key), list(known))}")
    for key, item in known.items():
        if key not in content and item.default is MISSING and item.default_factory is MISSING:
            raise ValueError(f"{place} has no {key}")
    return kind(**content)
