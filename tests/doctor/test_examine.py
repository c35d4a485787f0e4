"""`leyden doctor` as a user types it: exit codes, the summary, the two files."""

import base64
import io
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from doctor.planted import Planted, plant
from leyden import command_line
from running import SHORT

Leyden = Callable[..., subprocess.CompletedProcess[str]]


def words(directory: Path, tmp_path: Path, *more: str) -> list[str]:
    place = f"hydra.run.dir={tmp_path / 'examined'}"
    return [
        "data=image_folder",
        f"data.root={directory}",
        place,
        "data.num_workers=0",
        *SHORT,
        *more,
    ]


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Leyden:
    """`leyden doctor` in this process, in tmp_path."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = command_line.doctor(arguments)
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return run


@pytest.fixture
def report(tmp_path: Path) -> Callable[[], tuple[dict[str, dict], str]]:
    def read() -> tuple[dict[str, dict], str]:
        place = tmp_path / "examined"
        found = json.loads((place / "doctor.json").read_text(encoding="utf-8"))
        page = (place / "doctor.html").read_text(encoding="utf-8")
        return {finding["kind"]: finding for finding in found["findings"]}, page

    return read


def test_planted_faults_end_in_exit_code_1_and_a_page(
    planted: Planted, leyden: Leyden, tmp_path: Path, report: Callable[[], tuple[dict[str, dict], str]]
) -> None:
    done = leyden("doctor", *words(planted.directory, tmp_path))
    findings, page = report()
    assert done.returncode == 1
    assert done.stderr == ""
    assert "error   24 files cannot be read" in done.stdout
    assert "Not fit for training: 1 error" in done.stdout
    assert {"unreadable", "equal_across", "near_across", "equal_conflicting_labels", "constant"} <= findings.keys()
    assert "speed" not in findings  # there is no loading what cannot be read
    assert findings["near_across"]["groups"][0][0]["image"].startswith(("train/", "test/"))
    assert "http" not in re.sub(r"data:[^\"]*", "", page)
    addresses = re.findall(r'src="data:image/\w+;base64,([^"]+)"', page)
    assert len(addresses) > 60
    for address in addresses:
        Image.open(io.BytesIO(base64.b64decode(address))).load()
    assert len(page) < 3_000_000


def test_files_to_be_skipped_leave_training_possible(
    planted: Planted, doctor: Leyden, tmp_path: Path, report: Callable[[], tuple[dict[str, dict], str]]
) -> None:
    done = doctor(*words(planted.directory, tmp_path, "data.on_error=skip"))
    findings, _ = report()
    assert done.returncode == 0, done.stderr
    assert findings["unreadable"]["severity"] == "warning"
    assert findings["speed"]["sentence"].startswith("The loader gives")


def test_set_in_memory_is_examined(
    doctor: Leyden, tmp_path: Path, report: Callable[[], tuple[dict[str, dict], str]]
) -> None:
    done = doctor("data=digits", *SHORT, f"hydra.run.dir={tmp_path / 'examined'}")
    findings, page = report()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("digits: 1,169 training, 269 validation, 359 test")
    assert "Fit for training" in done.stdout
    assert "normalisation" not in findings
    assert "image/png" in page


def test_set_that_cannot_be_split_is_told_in_a_sentence_and_leaves_no_directory(doctor: Leyden, tmp_path: Path) -> None:
    for place in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / "set" / place).mkdir(parents=True)
    Image.new("L", (9, 9)).save(tmp_path / "set" / "train" / "a" / "1.png")
    done = doctor(*words(tmp_path / "set", tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "examined").exists()


def test_names_that_are_no_text_are_shown_and_escaped(
    doctor: Leyden, tmp_path: Path, report: Callable[[], tuple[dict[str, dict], str]]
) -> None:
    planted = plant(tmp_path / "set")
    strange = tmp_path / "set" / "train" / "china"
    (strange / "<b>\udcff\n&.png").write_bytes(b"none")
    done = doctor(*words(planted.directory, tmp_path))
    _, page = report()
    assert done.returncode == 1
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "Traceback" not in done.stderr
