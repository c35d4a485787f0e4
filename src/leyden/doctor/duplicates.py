"""Facts > **duplicates** > findings: images that are equal, or one picture stored, scaled, lit or turned otherwise.

Perceptual hashes (imagehash's pHash, 64 bits) find pairs that may be one picture, thumbnails decide whether they are.
No fixed distance can: photographs of all sorts of things are far apart, pictures of shirts or of solar cells are near
each other. So a pair must be much nearer to each other than both are to others of their set.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from leyden.doctor.facts import ORIENTATIONS, Facts, turn

RADIUS = 12  # bits of 64 in which the hashes of one picture may differ
LEAST_CORRELATION = 0.95  # of two thumbnails of one picture …
MOST_OF_DISTANCE = 0.2  # … whose distance (1 − correlation) is at most so much of that to other images
OTHERS, KTH = 2000, 6  # to others: to the sixth nearest of so many, so that several copies of a picture do not hide it
LEAST_CONTRAST = 2.0  # standard deviation of a thumbnail's grey values, below which there is no picture to compare
MOST_TURNED = 20_000  # images among which turned and mirrored copies are looked for as well
ROWS = 512  # hashes that are held against all others at once
PAIRS = 8192  # thumbnails that are compared at once

Indices = NDArray[np.int64]


def equal_groups(facts: Facts) -> list[Indices]:
    """Images with the same pixels, a group each; those of one colour are no picture, and left out."""
    (shown,) = (facts.table["is_read"] & (facts.table["lowest"] < facts.table["highest"])).nonzero()
    _, numbers = np.unique(facts.table["digest"][shown], return_inverse=True)
    return _groups(shown, numbers)


def near_groups(facts: Facts, equal: list[Indices]) -> list[Indices]:
    """Images that show one picture without being equal, a group each, with one image for those that are equal."""
    is_candidate = facts.table["is_read"] & (_contrasts(facts.table["thumbnail"]) >= LEAST_CONTRAST)
    for group in equal:
        is_candidate[group[1:]] = False
    (chosen,) = is_candidate.nonzero()
    hashes, thumbnails = facts.table["hashes"][chosen], facts.table["thumbnail"][chosen]
    found = []  # first, second and correlation of each pair
    for number in range(ORIENTATIONS if len(facts.table) <= MOST_TURNED else 1):
        turned = turn(thumbnails, number)
        for first, second in pairs_within(hashes[:, 0], hashes[:, number], RADIUS):
            values = np.einsum("np,np->n", standardised(thumbnails[first]), standardised(turned[second]))
            alike = values >= LEAST_CORRELATION
            found.append(np.stack([first[alike], second[alike], values[alike]]))
    told = np.concatenate(found, axis=1) if found else np.zeros((3, 0))
    pairs, values = told[:2].astype(np.int64), told[2]
    apart = np.ones(len(chosen))
    members = np.unique(pairs)
    apart[members] = distances_to_others(thumbnails, members)
    pairs = pairs[:, 1 - values <= MOST_OF_DISTANCE * apart[pairs].min(0)]
    graph = coo_array((np.ones(pairs.shape[1], bool), tuple(pairs)), shape=(len(chosen), len(chosen)))
    return _groups(chosen, connected_components(graph, directed=False)[1])


def pairs_within(
    ours: NDArray[np.uint64], theirs: NDArray[np.uint64], radius: int
) -> Iterator[tuple[Indices, Indices]]:
    """Pairs i < j, a few at a time, where our hash of i and theirs of j differ in at most `radius` bits."""
    for begin in range(0, len(ours), ROWS):
        distances = np.bitwise_count(ours[begin : begin + ROWS, None] ^ theirs[None, begin:])
        first, second = np.triu(distances <= radius, 1).nonzero()
        for part in range(0, len(first), PAIRS):
            yield first[part : part + PAIRS] + begin, second[part : part + PAIRS] + begin


def distances_to_others(thumbnails: NDArray[np.uint8], members: Indices) -> NDArray[np.float64]:
    """How far each of the members is from other images: 1 − the correlation with the KTH nearest of OTHERS.

    Of a handful of images too many could be copies: they count as far from each other as images are that have nothing
    in common, 1.
    """
    others = np.random.default_rng(0).permutation(len(thumbnails))[:OTHERS]
    if len(others) <= 2 * KTH:
        return np.ones(len(members))
    references, found = standardised(thumbnails[others]), []
    for begin in range(0, len(members), PAIRS):
        part = members[begin : begin + PAIRS]
        values = standardised(thumbnails[part]) @ references.T
        values[part[:, None] == others[None, :]] = -1.0  # itself
        found.append(1 - np.partition(values, -KTH, axis=1)[:, -KTH])
    return np.concatenate(found).astype(np.float64) if found else np.zeros(0)


def standardised(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Rows [N, P] of mean 0 and norm 1, whose products are correlations of grey values."""
    pixels = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    pixels -= pixels.mean(1, keepdims=True)
    pixels /= np.linalg.norm(pixels, axis=1, keepdims=True)
    return pixels


def _contrasts(thumbnails: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The standard deviation of each one's grey values [N], some at a time: NumPy copies them eight times as large."""
    found = np.empty(len(thumbnails))
    for begin in range(0, len(thumbnails), PAIRS):
        found[begin : begin + PAIRS] = thumbnails[begin : begin + PAIRS].std((1, 2))
    return found


def _groups(indices: Indices, numbers: NDArray[np.integer]) -> list[Indices]:
    """The indices that have a number in common with others, each group ascending, in the order of their first."""
    order = np.argsort(numbers, kind="stable")
    groups = np.split(indices[order], np.cumsum(np.bincount(numbers))[:-1]) if len(numbers) else []
    return sorted((group for group in groups if len(group) > 1), key=lambda group: int(group[0]))
