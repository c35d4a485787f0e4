"""Stream > **partial table** > table: rows as they come, in a file beside the table, for a killed command to go on.

A row is a line of JSON. What was written of a batch that is whole is kept; the first line says what the rows were made
with, and other rows are not gone on with.
"""

import fcntl
import json
import logging
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Self

from leyden.lock import CONTENTION

log = logging.getLogger(__name__)


class PartialTable:
    """Rows of the table `output`, in a hidden file beside it; as a context manager it keeps others out of it.

    `settings` are what decides about a row, in a line.

    Raises:
        ValueError: on entering, where the file cannot be written, or another process is writing it.
    """

    def __init__(self, output: Path, settings: str) -> None:
        self.output, self.settings = output, settings
        self.path = output.with_name(f".{output.name}.partial")
        self.num_kept = 0

    def __enter__(self) -> Self:
        try:
            self.output.parent.mkdir(parents=True, exist_ok=True)
            if self.output.is_dir():
                raise ValueError(f"output={self.output} is a directory: give the name of a file in it")
            self.file = self.path.open("a+b")
        except OSError as error:
            raise ValueError(
                f"output={self.output} cannot be written ({error.strerror}): give another place"
            ) from error
        try:
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except CONTENTION as error:
            self.file.close()
            raise ValueError(f"another process is writing {self.output}: wait for its end, or give another") from error
        except OSError as error:
            self.file.close()
            raise ValueError(
                f"output={self.output} lies where files cannot be locked ({error.strerror}): give another place"
            ) from error
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def left_of(self, paths: Iterator[str], batch_size: int) -> Iterator[str]:
        """The paths that have no row yet: rows of whole batches stay while they are those of the paths that come."""
        self.file.seek(0)
        head = self.settings.encode() + b"\n"
        first = self.file.readline()
        if first != head:
            if first:
                log.warning("%s was begun with another network or other settings: it begins anew", self.output)
            self.file.truncate(0)
            self.file.write(head)
        self.file.seek(len(head))
        end, batch, following = len(head), list[str](), list[str]()
        while line := self.file.readline():
            path = next(paths, None)
            following = [] if path is None else [path]
            if path is None or _path_of(line) != path:
                break
            batch.append(path)
            following = []
            if len(batch) == batch_size:
                end, batch, self.num_kept = self.file.tell(), [], self.num_kept + batch_size
        self.file.truncate(end)
        self.file.seek(end)
        return chain(batch, following, paths)

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Writes the rows of a batch, which a kill leaves whole or takes back."""
        self.file.write("".join(json.dumps(row) + "\n" for row in rows).encode("ascii"))
        self.file.flush()

    def rows(self) -> Iterator[list[Any]]:
        """All rows, one after the other."""
        self.file.seek(0)
        self.file.readline()
        for line in self.file:
            yield json.loads(line)

    def discard(self) -> None:
        """Deletes the file, once the table stands."""
        self.path.unlink(missing_ok=True)


def _path_of(line: bytes) -> str | None:
    """Whose row a line is; None where a kill has cut it off."""
    try:
        path: str = json.loads(line)[0]
    except (ValueError, LookupError, TypeError):
        return None
    return path if line.endswith(b"\n") else None
