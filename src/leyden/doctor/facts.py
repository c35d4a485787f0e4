"""Doctor > **facts** > duplicates, findings: each image decoded whole, in processes, and what was seen of it.

Torch is not imported here, so that the processes start at once and stay small.
"""

import functools
import hashlib
import itertools
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from leyden.errors import why_unreadable
from leyden.image_formats import UPRIGHT, open_image, orientation_of

OPEN: Callable[[str], BinaryIO] = functools.partial(open, mode="rb")  # type: ignore[assignment]
SIDE = 32  # pixels of a thumbnail: what a perceptual hash is made of
ORIENTATIONS = 8  # four turns, each mirrored or not
CHUNK = 64  # images that a process looks at before it reports
FEW = 300  # images that are looked at sooner than processes start

OF_AN_IMAGE = np.dtype([
    ("is_read", "?"), ("width", "i4"), ("height", "i4"), ("mode", "U8"), ("format", "U8"), ("is_turned", "?"),
    ("lowest", "u1"), ("highest", "u1"), ("digest", "S16"), ("hashes", "u8", (ORIENTATIONS,)),
    ("thumbnail", "u1", (SIDE, SIDE)),
])  # fmt: skip


class Facts(NamedTuple):
    """What was seen of N images."""

    table: NDArray[np.void]  # OF_AN_IMAGE [N]; of an image that was not read, only what its header says
    reasons: dict[int, str]  # why an image was not read, in words


def of_files(
    directory: Path,
    paths: Sequence[str],
    num_processes: int,
    with_turns: bool,
    open_file: Callable[[str], BinaryIO] = OPEN,
) -> Facts:
    """Decodes every file whole, as large as it is."""
    whole = [os.path.join(directory, path) for path in paths]
    chunks = (whole[begin : begin + CHUNK] for begin in range(0, len(whole), CHUNK))
    look = functools.partial(_look_at_files, open_file=open_file, with_turns=with_turns)
    return _gather(look, chunks, len(whole), num_processes)


def of_images(images: NDArray[np.uint8], num_processes: int, with_turns: bool) -> Facts:
    """Looks at images in memory, [N, C, H, W]."""
    chunks = (images[begin : begin + CHUNK] for begin in range(0, len(images), CHUNK))
    return _gather(functools.partial(_look_at_images, with_turns=with_turns), chunks, len(images), num_processes)


def _gather(
    look: Callable[[Any], tuple[NDArray[np.void], dict[int, str]]],
    chunks: Iterator[Any],
    num_images: int,
    num_processes: int,
) -> Facts:
    table = np.zeros(num_images, OF_AN_IMAGE)
    reasons: dict[int, str] = {}
    begin = 0
    for rows, unread in _shown(_map(look, chunks, 0 if num_images <= FEW else num_processes), num_images):
        table[begin : begin + len(rows)] = rows
        reasons |= {begin + position: reason for position, reason in unread.items()}
        begin += len(rows)
    return Facts(table, reasons)


def _map(look: Callable[[Any], Any], chunks: Iterator[Any], num_processes: int) -> Iterator[Any]:
    """Like `map`, in processes; only so many chunks are under way as keep them busy."""
    if num_processes < 1:
        yield from map(look, chunks)
        return
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPoolExecutor(num_processes, context, initializer=_begin_process)
    try:
        waiting = [pool.submit(look, chunk) for chunk in itertools.islice(chunks, 4 * num_processes)]
        while waiting:
            yield waiting.pop(0).result()
            if (chunk := next(chunks, None)) is not None:
                waiting.append(pool.submit(look, chunk))
    except BrokenProcessPool as error:
        raise ValueError(
            "a process that decodes images was killed, perhaps because memory ran out: end what else runs here, or "
            "leave it fewer cores, as in: taskset -c 0 leyden doctor …"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to answer


def _shown(results: Iterator[Any], num_images: int) -> Iterator[Any]:
    """The same with a bar on a terminal."""
    if not sys.stderr.isatty():
        yield from results
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("looking at images", total=num_images)
        for rows, unread in results:
            yield rows, unread
            progress.advance(bar, len(rows))


def _look_at_files(
    paths: Sequence[str], open_file: Callable[[str], BinaryIO], with_turns: bool
) -> tuple[NDArray[np.void], dict[int, str]]:
    rows = np.zeros(len(paths), OF_AN_IMAGE)
    reasons = {}
    for row, (position, path) in zip(rows, enumerate(paths), strict=True):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what Pillow only warns of, it can read
                with open_file(path) as file:
                    _look_at_file(row, file, with_turns)
        except Exception as error:  # Pillow raises whatever a format's reader meets
            reasons[position] = why_unreadable(error)
    return rows, reasons


def _look_at_file(row: Any, stream: BinaryIO, with_turns: bool) -> None:
    with open_image(stream) as file:
        row["width"], row["height"] = file.size
        row["mode"], row["format"] = file.mode, file.format or ""
        row["is_turned"] = orientation_of(file) != UPRIGHT
        limit = Image.MAX_IMAGE_PIXELS
        if limit and file.width * file.height > limit:
            raise ValueError(f"{file.width} × {file.height} pixels are more than the {limit:,} that Pillow trusts")
        file.load()
        image = _eight_bits(file)
        _look_at(row, ImageOps.exif_transpose(image) if row["is_turned"] else image, with_turns)


def _look_at_images(images: NDArray[np.uint8], with_turns: bool) -> tuple[NDArray[np.void], dict[int, str]]:
    rows = np.zeros(len(images), OF_AN_IMAGE)
    for row, image in zip(rows, images, strict=True):
        grey = len(image) == 1
        row["height"], row["width"] = image.shape[1:]
        row["mode"] = "L" if grey else "RGB"
        _look_at(row, Image.fromarray(image[0] if grey else np.ascontiguousarray(image.transpose(1, 2, 0))), with_turns)
    return rows, {}


def _look_at(row: Any, image: Image.Image, with_turns: bool) -> None:
    """Fills in what only pixels tell."""
    import imagehash

    colours = image.convert("RGB")
    extremes = np.array(colours.getextrema())  # [3, 2]
    row["lowest"], row["highest"] = extremes[np.ptp(extremes, axis=1).argmax()]  # of the channel that varies most
    shape = f"{colours.width} {colours.height} ".encode()
    row["digest"] = hashlib.blake2b(shape + colours.tobytes(), digest_size=16).digest()
    thumbnail = colours.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)  # as imagehash would have it
    row["thumbnail"] = np.asarray(thumbnail)
    for number in range(ORIENTATIONS if with_turns else 1):
        turned = Image.fromarray(np.ascontiguousarray(turn(np.asarray(thumbnail), number)))
        row["hashes"][number] = int(str(imagehash.phash(turned)), 16)
    row["is_read"] = True


def turn(thumbnails: NDArray[Any], number: int) -> NDArray[Any]:
    """Thumbnails [..., H, W] in one of the eight orientations: 0 leaves them, 4 and above mirror them first."""
    mirrored = thumbnails[..., ::-1] if number >= 4 else thumbnails
    return np.rot90(mirrored, number % 4, axes=(-2, -1))


def _eight_bits(image: Image.Image) -> Image.Image:
    """The same in a mode that Pillow converts faithfully: of more bits, the upper eight."""
    if image.mode[0] not in "IF":
        return image
    values = np.asarray(image).astype(np.float64)
    low, high = (0.0, 65535.0) if image.mode[0] == "I" else (values.min(), values.max())
    pixels = Image.fromarray((255 * ((values - low) / (high - low or 1)).clip(0, 1)).astype(np.uint8))
    pixels.info = dict(image.info)
    return pixels


def counts_of(values: NDArray[Any]) -> Mapping[str, int]:
    """How often each value occurs, the most frequent first."""
    found, counts = np.unique(values, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {str(found[number]): int(counts[number]) for number in order}
