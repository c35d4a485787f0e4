"""Options > **predict** > inputs, stream, table: what a run's network says of images, however many.

Rows are kept as they come, so that the same line goes on where it was stopped.
"""

import contextlib
import json
import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from leyden.checkpoint import file_digest
from leyden.errors import Interrupted, printable
from leyden.export.opened import Opened
from leyden.hardware import keep_freed_memory
from leyden.predict.answers import Answering, calibration_of, cells_of, columns_of, in_words
from leyden.predict.inputs import Inputs, find_inputs
from leyden.predict.options import Options
from leyden.predict.partial import PartialTable
from leyden.predict.stream import Row, stream
from leyden.predict.tables import check_format, write_csv, write_table
from leyden.run import is_writable
from leyden.trained import Network, Trained, open_network

STANDARD_OUTPUT = "-"
MOST_CLASSES = 8  # whose counts are printed
SECONDS_BETWEEN_SIGNS = 1.0


def predict(asked: Options, words: list[str]) -> None:
    """Writes a table of answers, or prints it; tells how many there are and which files could not be read.

    Raises:
        ValueError: an option is out of range, nothing is there to look at, the table cannot be written, or no image
            at all could be read.
    """
    check(asked)
    inputs = find_inputs(asked.input, asked.path_column, asked.root)
    network = open_network(asked.run, asked.checkpoint, asked.device)
    answering = Answering(network, asked.top)
    keep_freed_memory()
    if asked.output is None and inputs.is_one_image:
        print_one(answering, inputs)
    elif asked.output == STANDARD_OUTPUT:
        print_table(answering, inputs, asked)
    else:
        output = Path(asked.output).expanduser() if asked.output else default_output(network, inputs.name)
        write(answering, inputs, asked, output)


def check(asked: Options) -> None:
    """Refuses values that are out of range, and a table of no known format."""
    if asked.batch_size < 1:
        raise ValueError(f"batch_size={asked.batch_size} is out of range: give 1 or more")
    if asked.num_workers is not None and asked.num_workers < 0:
        raise ValueError(f"num_workers={asked.num_workers} is out of range: give 0 or more, or null")
    if asked.output is not None and asked.output != STANDARD_OUTPUT:
        check_format(Path(asked.output))
        if Path(asked.output).expanduser().resolve() == Path(asked.input).expanduser().resolve():
            raise ValueError(f"output={asked.output} is the input: give another name")


def default_output(network: Network, name: str) -> Path:
    """Below the run's directory where one is, else here."""
    directory = network.directory if isinstance(network, Trained) and is_writable(network.directory) else Path()
    return directory / "predict" / f"{name}.csv"


def print_one(answering: Answering, inputs: Inputs) -> None:
    """The answer about one image, on the terminal."""
    ((row,),) = stream(answering, inputs.paths, 1, 0)
    if row.answer is None:
        raise ValueError(f"{row.path} cannot be read ({row.error})")
    print("\n".join(in_words(row.answer, answering.facts.task)))
    if note := calibration_of(answering.network):
        print(f"\nprobabilities are {note}")


def print_table(answering: Answering, inputs: Inputs, asked: Options) -> None:
    """CSV on standard output, row by row as answers come; the rest on standard error."""
    tally = Tally(answering)
    sys.stdout.reconfigure(encoding="utf-8", newline="")  # type: ignore[union-attr]
    try:
        rows = (
            cells
            for batch in stream(answering, inputs.paths, asked.batch_size, asked.num_workers)
            for cells in tally.count(rows_of(batch, answering))
        )
        write_csv(rows, columns_of(answering.facts, answering.top), sys.stdout)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    tally.report(None, file=sys.stderr)


def write(answering: Answering, inputs: Inputs, asked: Options, output: Path) -> None:
    """The table in a file; what an earlier command of the same words has done is taken from it."""
    columns, tally = columns_of(answering.facts, answering.top), Tally(answering)
    with PartialTable(output, settings_of(answering, asked)) as partial:
        paths = partial.left_of(inputs.paths, asked.batch_size)
        if partial.num_kept:
            print(f"going on after {partial.num_kept:,} images that are answered", flush=True)
        with told_how_to_go_on(partial), signs_of_life(partial.num_kept) as sign:
            for batch in stream(answering, paths, asked.batch_size, asked.num_workers):
                partial.add(rows_of(batch, answering))
                sign(len(batch))
        write_table(tally.count(partial.rows()), columns, output)
        partial.discard()
    tally.report(output, partial.num_kept)


def rows_of(batch: Sequence[Row], answering: Answering) -> list[list[Any]]:
    """The cells of each row."""
    return [cells_of(row.path, row.answer, row.error, answering.facts, answering.top) for row in batch]


def settings_of(answering: Answering, asked: Options) -> str:
    """What decides about a row beside its image, in a line."""
    network = answering.network
    assert isinstance(network, Trained | Opened)
    temperature = network.test_time.temperature if isinstance(network, Trained) else None
    settings = {
        "of": "leyden predict",
        "network": digest_of(network.path),
        "temperature": temperature,
        "thresholds": answering.thresholds,
        "top": answering.top,
        "batch_size": asked.batch_size,
        "device": asked.device,
    }
    return json.dumps(settings)


def digest_of(source: Path) -> str:
    """What tells one network's files from another's."""
    if source.is_file():
        return file_digest(source)
    return " ".join(file_digest(path) for path in sorted(source.rglob("*")) if path.is_file())


class Tally:
    """Counts rows as they pass."""

    def __init__(self, answering: Answering) -> None:
        self.answering, self.begin = answering, time.perf_counter()
        self.classes: Counter[str] = Counter()
        self.num_rows = self.num_unreadable = 0
        self.first: tuple[str, str] | None = None  # a file that could not be read, and why

    def count(self, rows: Iterable[list[Any]]) -> Iterator[list[Any]]:
        """Passes rows on, and counts them."""
        for row in rows:
            path, answer, *_, error = row
            self.num_rows += 1
            if error is not None:
                self.num_unreadable += 1
                self.first = self.first or (path, error)
            elif self.answering.facts.task != "regression":
                self.classes.update(answer if isinstance(answer, list) else [answer])
            yield row

    def report(self, output: Path | None, num_kept: int = 0, file: TextIO | None = None) -> None:
        """What came of it.

        Raises:
            ValueError: no image could be read.
        """
        seconds = time.perf_counter() - self.begin
        number = f"{self.num_rows:,}"
        if self.first is not None:
            path, error = self.first
            number += (
                f", of which {self.num_unreadable:,} cannot be read: {printable(path) or 'an empty path'} ({error})"
            )
            number += " for one, the others in the column error" if self.num_unreadable > 1 else ""
        lines = [f"images          {number}"]
        if self.classes:
            counts = [f"{name}: {count:,}" for name, count in self.classes.most_common(MOST_CLASSES)]
            more = len(self.classes) - MOST_CLASSES
            lines.append(f"classes         {', '.join(counts)}" + (f" and {more} others" if more > 0 else ""))
        if note := calibration_of(self.answering.network):
            lines.append(f"probabilities   {note}")
        speed = (self.num_rows - num_kept) / seconds
        lines.append(f"time            {seconds:.1f} s, {speed:,.0f} images/s")
        if output is not None:
            lines.append(f"table           {output}")
        print("\n".join(lines), file=file or sys.stdout, flush=True)
        if self.num_rows and self.num_unreadable == self.num_rows:
            raise ValueError(f"none of {self.num_rows:,} images can be read: are they images, and is the disk there?")


@contextlib.contextmanager
def told_how_to_go_on(partial: PartialTable) -> Iterator[None]:
    """Says, where a signal ends the command, that nothing is lost."""
    try:
        yield
    except Interrupted:
        print(f"what is answered is kept in {shlex.quote(str(partial.path))}: the same line goes on", file=sys.stderr)
        raise


@contextlib.contextmanager
def signs_of_life(num_done: int) -> Iterator[Callable[[int], None]]:
    """A line on a terminal that says how far it is."""
    begin = shown = time.perf_counter()
    number = num_done

    def sign(count: int) -> None:
        nonlocal number, shown
        number += count
        now = time.perf_counter()
        if sys.stderr.isatty() and now - shown > SECONDS_BETWEEN_SIGNS:
            speed = (number - num_done) / (now - begin)
            print(f"\r{number:,} images, {speed:,.0f} images/s", end="", file=sys.stderr, flush=True)
            shown = now

    try:
        yield sign
    finally:
        if sys.stderr.isatty() and shown != begin:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
