"""Copies among real photographs are found, whatever was done to them, and nothing else is."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from doctor.planted import COPIES, Planted, tiles
from leyden.data import Digits, FashionMNIST
from leyden.doctor.duplicates import RADIUS, equal_groups, near_groups, pairs_within
from leyden.doctor.facts import OF_AN_IMAGE, Facts, of_files, of_images


def pairs_of(groups: list[np.ndarray], paths: list[str]) -> set[frozenset[str]]:
    return {frozenset((paths[i], paths[j])) for group in groups for i, j in itertools.combinations(group.tolist(), 2)}


def test_equal_images_are_found_all_and_alone(planted: Planted, paths: list[str], facts: Facts) -> None:
    expected = {frozenset(pair) for pair in [*planted.equal, *planted.swapped]}
    assert pairs_of(equal_groups(facts), paths) == expected


def test_near_copies_are_found_and_hardly_anything_else(planted: Planted, paths: list[str], facts: Facts) -> None:
    found = pairs_of(near_groups(facts, equal_groups(facts)), paths)
    expected = {frozenset(pair) for pairs in planted.copies.values() for pair in pairs}
    recall = len(found & expected) / len(expected)
    innocent = {*planted.untouched, *itertools.chain(*planted.equal, *planted.swapped)}
    accused = {name for pair in found - expected for name in pair} & innocent
    by_kind = {kind: sum(frozenset(pair) in found for pair in pairs) for kind, pairs in planted.copies.items()}
    print(f"recall {recall:.3f} of {len(expected)}: {by_kind}; false alarms {len(accused)} of {len(innocent)}")
    assert recall >= 0.95
    assert len(accused) / len(innocent) <= 0.01


@pytest.mark.parametrize("kind", COPIES)
def test_no_kind_of_copy_is_missed(kind: str, planted: Planted, paths: list[str], facts: Facts) -> None:
    found = pairs_of(near_groups(facts, equal_groups(facts)), paths)
    pairs = planted.copies[kind]
    assert sum(frozenset(pair) in found for pair in pairs) >= 0.9 * len(pairs)


def test_pairs_of_hashes_are_those_of_brute_force() -> None:
    generator = np.random.default_rng(0)
    ours = generator.integers(2**63, size=700, dtype=np.uint64)
    theirs = ours.copy()
    for number in range(0, 700, 7):  # some that are near to another one
        bits = generator.choice(64, size=number % 20, replace=False)
        theirs[number] = ours[number // 2] ^ np.bitwise_or.reduce(np.uint64(1) << bits.astype(np.uint64), initial=0)
    found = {pair for first, second in pairs_within(ours, theirs, RADIUS) for pair in zip(first, second, strict=True)}
    expected = {
        (i, j)
        for i, j in itertools.combinations(range(700), 2)
        if (int(ours[i]) ^ int(theirs[j])).bit_count() <= RADIUS
    }
    assert len(expected) > 20
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize(("name", "bar"), [("tiles", 0.0), ("digits", 0.01), ("fashion_mnist", 0.01), ("elpv", None)])
def test_copies_among_images_of_one_kind(name: str, bar: float | None, tmp_path: Path) -> None:
    """The table of docs/doctor.md; of ELPV, which has twins of its own, no bar for false alarms."""
    images = images_of(name)
    order = np.random.default_rng(1).permutation(len(images)).tolist()
    places, pairs = [f"{number:05}.png" for number in range(len(images))], {}
    for image, place in zip(images, places, strict=True):
        image.save(tmp_path / place)
    each = min(40, len(images) // 5)
    for number, (kind, copy) in enumerate(COPIES.items()):
        originals = order[number * each : (number + 1) * each]
        copies = [copy(images[index], tmp_path / f"{kind}{index:05}.png").name for index in originals]
        pairs[kind] = {frozenset((places[index], name)) for index, name in zip(originals, copies, strict=True)}
        places += copies
    facts = of_files(tmp_path, places, num_processes=2, with_turns=True)
    found = pairs_of(near_groups(facts, equal_groups(facts)), places)
    touched = {name for these in pairs.values() for pair in these for name in pair}
    accused = {name for pair in found for name in pair} - touched
    told = {kind: len(found & these) for kind, these in pairs.items()}
    print(f"{name}: found of {each} each {told}; false alarms {len(accused)} of {len(places) - len(touched)}")
    assert told["mirrored"] >= 0.95 * each
    assert bar is None or len(accused) <= bar * (len(places) - len(touched))


def images_of(name: str) -> list[Image.Image]:
    if name == "tiles":
        return [tile for tile, _ in tiles()]
    if name == "elpv":
        package = Path(pytest.importorskip("elpv_dataset").__file__).parent
        return [Image.open(path).convert("L") for path in sorted(package.rglob("*.png"))]
    source = Digits() if name == "digits" else FashionMNIST()
    return [Image.fromarray(image[0]) for image in source.load(Path("unused")).images[:5000].numpy()]


def test_copies_are_found_in_a_handful_of_images(planted: Planted) -> None:
    original, copy = planted.copies["jpeg"][0]
    few = [original, planted.untouched[0], copy]
    facts = of_files(planted.directory, few, num_processes=0, with_turns=False)
    assert [group.tolist() for group in near_groups(facts, [])] == [[0, 2]]


def test_flat_and_unread_images_are_nobodys_copies() -> None:
    images = np.full((6, 1, 40, 40), 128, dtype=np.uint8)
    images[:, :, :, 20:] += np.arange(6, dtype=np.uint8)[:, None, None, None] // 3  # one level: noise of a camera
    facts = of_images(images, num_processes=0, with_turns=False)
    assert near_groups(facts, []) == []
    nothing = Facts(np.zeros(5, OF_AN_IMAGE), dict.fromkeys(range(5), "damaged"))
    assert equal_groups(nothing) == []
    assert near_groups(nothing, []) == []
