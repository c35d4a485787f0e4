"""Rows that outlast a kill: which stay, and what is looked at again."""

import errno
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from leyden.predict.partial import PartialTable

BATCH = 4
HOLD = (
    "import sys; from pathlib import Path; from leyden.predict.partial import PartialTable\n"
    "with PartialTable(Path(sys.argv[1]), 's'): print('held', flush=True); sys.stdin.read()"
)


def go(output: Path, paths: list[str], settings: str = "s", stop: int | None = None) -> tuple[int, list[str]]:
    """Goes on with a table, for `stop` batches; how many rows were kept, and the paths of all."""
    with PartialTable(output, settings) as partial:
        left = list(partial.left_of(iter(paths), BATCH))
        assert left == paths[partial.num_kept :]
        for number, begin in enumerate(range(0, len(left), BATCH)):
            if number == stop:
                break
            partial.add([[path, len(path), None] for path in left[begin : begin + BATCH]])
        return partial.num_kept, [row[0] for row in partial.rows()]


def test_any_cut_leaves_whole_batches_and_the_end_is_the_same(tmp_path: Path) -> None:
    output, paths = tmp_path / "t.csv", [f"é{number}\udcff.png" for number in range(11)]
    partial = tmp_path / ".t.csv.partial"
    go(output, paths)
    whole = partial.read_bytes()
    for cut in [0, len(whole), *random.Random(0).sample(range(len(whole)), 60)]:
        partial.write_bytes(whole[:cut])
        kept, found = go(output, paths)
        assert kept % BATCH == 0
        assert kept <= whole[:cut].count(b"\n")
        assert found == paths
        assert partial.read_bytes() == whole


@pytest.mark.parametrize(
    ("later", "kept"),
    [
        ([*"abcdefghxy"], 8), ([*"abcdefXhij"], 4), ([*"Xbcdefghij"], 0), ([*"abcde"], 4), ([], 0),
        ([*"abcdefghijklmn"], 8),
    ],
)  # fmt: skip
def test_rows_stay_as_far_as_the_paths_are_the_same(later: list[str], kept: int, tmp_path: Path) -> None:
    go(tmp_path / "t.csv", [*"abcdefghij"])
    assert go(tmp_path / "t.csv", later) == (kept, later)


def test_rows_of_other_settings_are_not_gone_on_with(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    go(tmp_path / "t.csv", [*"abcdefghij"])
    assert go(tmp_path / "t.csv", [*"abcdefghij"], "others", stop=1) == (0, [*"abcd"])
    assert "begun with another network or other settings" in caplog.text


def test_two_processes_do_not_write_one_table(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "t.csv")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=r"another process is writing .*t\.csv"):
            PartialTable(tmp_path / "t.csv", "s").__enter__()
        other.communicate("")


def test_a_place_without_locks_is_no_other_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: object, kind: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.lockf", refuse)
    with pytest.raises(ValueError, match=r"t\.csv lies where files cannot be locked \(.*\): give another place"):
        go(tmp_path / "t.csv", [])


def test_an_unwritable_place_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"file/t\.csv cannot be written \(.*\): give another place"):
        go(tmp_path / "file" / "t.csv", [])
    with pytest.raises(ValueError, match="is a directory: give the name of a file in it"):
        go(tmp_path, [])
