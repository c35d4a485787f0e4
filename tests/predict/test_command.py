"""`leyden predict` from end to end, against the network asked image by image."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from leyden import command_line
from leyden.predict.answers import thresholds_of
from leyden.trained import Trained, probabilities_of, read_for
from small_runs import small_run, write_images
from task_sources import MULTI_LABEL, REGRESSION

pytestmark = pytest.mark.whole

Captured = pytest.CaptureFixture[str]
COUNT = 23
# The command is killed as it writes its third batch.
KILLED = """
import os, signal, sys
from leyden import command_line
from leyden.predict.partial import PartialTable
add, count = PartialTable.add, 0
def dying(self, rows):
    global count
    count += 1
    if count == 3:
        self.file.write(b'["torn')
        self.file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    add(self, rows)
PartialTable.add = dying
sys.exit(command_line.of_a_run("predict", sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one class per image that lies elsewhere than where it was trained."""
    trained = small_run(tmp_path_factory.mktemp("runs") / "run")
    moved = tmp_path_factory.mktemp("moved, é") / "a run"
    shutil.move(trained, moved)
    return moved


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of images, of which one is none, in the working directory."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "Bilder é", COUNT)
    (tmp_path / "Bilder é" / "007.png").write_bytes(b"no image")
    return Path("Bilder é")


def predict(*words: str) -> int:
    return command_line.of_a_run("predict", words)


def rows_of(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def alone(network: Trained, path: str | Path) -> Any:
    """What the network says of one image by itself."""
    return network.logits(read_for(network.facts, path)[None])


def test_answers_are_those_of_each_image_alone_in_their_order(run: Path, photos: Path, capfd: Captured) -> None:
    assert predict(f"run={run}", f"input={photos}", "output=out/answers.csv", "batch_size=5", "num_workers=2") == 0
    rows, network = rows_of("out/answers.csv"), Trained(run)
    assert [row["path"] for row in rows] == [str(path) for path in sorted(photos.iterdir())]
    for row in rows:
        if row["error"]:
            continue
        best = probabilities_of(alone(network, row["path"]), "single_label")[0].topk(3)
        names = [network.facts.class_names[index] for index in best.indices]
        assert [row["class"], row["class_2"], row["class_3"]] == names
        found = [float(row[name]) for name in ("probability", "probability_2", "probability_3")]
        torch.testing.assert_close(torch.tensor(found), best.values, atol=2e-6, rtol=0)
    bad = rows[7]
    assert (bad["class"], bad["probability"], bad["error"]) == ("", "", "it is no image of a known format")
    said = capfd.readouterr().out
    assert f"images          {COUNT}, of which 1 cannot be read: Bilder é/007.png (it is no image" in said
    assert "probabilities   as the network has them: the run has chosen no temperature" in said
    assert "table           out/answers.csv" in said
    assert os.listdir("out") == ["answers.csv"]


def test_all_formats_and_standard_input_and_output_say_the_same(run: Path, photos: Path, capfd: Captured) -> None:
    words = [f"run={run}", f"input={photos}", "num_workers=0", "top=1"]
    assert predict(*words) == 0  # below the run, by the folder's name
    capfd.readouterr()
    table = (run / "predict" / "Bilder é.csv").read_text(encoding="utf-8")
    for output in ("a.json", "-"):
        assert predict(*words, f"output={output}") == 0
    printed = capfd.readouterr()
    assert printed.out.endswith(table)
    assert "images          23" in printed.err
    objects = json.loads(Path("a.json").read_text(encoding="utf-8"))
    header, *rows = csv.reader(table.splitlines())
    assert [[str("" if cell is None else cell) for cell in one.values()] for one in objects] == rows
    assert list(objects[0]) == header == ["path", "class", "probability", "error"]
    command = [sys.executable, "-m", "leyden", "predict", f"run={run}", "input=-", "output=-", "num_workers=0", "top=1"]
    paths = "".join(f"{path}\n" for path in sorted(photos.iterdir()))
    done = subprocess.run(command, input=paths.encode(), capture_output=True, timeout=300)
    assert done.stdout.decode() == table


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_killed_command_goes_on_to_the_same_bytes(suffix: str, run: Path, photos: Path, capfd: Captured) -> None:
    words = [f"run={run}", f"input={photos}", "batch_size=5", "num_workers=1"]
    killed = subprocess.run([sys.executable, "-c", KILLED, *words, f"output=killed.{suffix}"], timeout=300)
    assert killed.returncode == -signal.SIGKILL
    assert not Path(f"killed.{suffix}").exists()
    assert Path(f".killed.{suffix}.partial").read_bytes().endswith(b'["torn')
    assert predict(*words, f"output=killed.{suffix}") == 0
    assert "going on after 10 images" in capfd.readouterr().out
    assert predict(*words, f"output=whole.{suffix}") == 0
    assert Path(f"killed.{suffix}").read_bytes() == Path(f"whole.{suffix}").read_bytes()
    assert sorted(path.name for path in Path().iterdir()) == ["Bilder é", f"killed.{suffix}", f"whole.{suffix}"]


def test_ctrl_c_ends_it_with_130_and_says_that_it_goes_on(run: Path, photos: Path) -> None:
    command = [sys.executable, "-m", "leyden", "predict", f"run={run}", "input=-", "output=x.csv", "batch_size=1"]
    with subprocess.Popen([*command, "num_workers=0"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as one:
        assert one.stdin is not None
        assert one.stderr is not None
        one.stdin.write(f"{photos}/000.jpg\n{photos}/001.png\n")
        one.stdin.flush()
        end = time.monotonic() + 300
        while not (Path(".x.csv.partial").exists() and Path(".x.csv.partial").read_bytes().count(b"\n") > 1):
            assert time.monotonic() < end
            time.sleep(0.02)
        one.send_signal(signal.SIGINT)
        said = one.stderr.read()
    assert one.returncode == 130
    assert "what is answered is kept in .x.csv.partial: the same line goes on" in said


def test_one_image_is_answered_on_the_terminal(run: Path, photos: Path, capfd: Captured) -> None:
    assert predict(f"run={run}", f"input={photos}/003.png", "top=2") == 0
    first, second, *_ = capfd.readouterr().out.splitlines()
    network = Trained(run)
    best = probabilities_of(alone(network, photos / "003.png"), "single_label")[0].topk(2)
    assert first.split()[0] == network.facts.class_names[best.indices[0]]
    assert second.split()[1] == f"{best.values[1]:.2%}"
    assert predict(f"run={run}", f"input={photos}/007.png") == 1
    assert "007.png cannot be read (it is no image of a known format)" in capfd.readouterr().err


def test_several_labels_are_those_above_their_thresholds(tmp_path: Path, photos: Path, capfd: Captured) -> None:
    run = small_run(tmp_path / "run", *MULTI_LABEL)
    assert predict(f"run={run}", f"input={photos}", "output=a.json", "num_workers=0", "top=2") == 0
    assert "top=2 is for one class per image, and the run has any number of labels: not used" in capfd.readouterr().err
    network, rows = Trained(run), json.loads(Path("a.json").read_text(encoding="utf-8"))
    names = network.facts.class_names
    logits = network.classifier.test_metrics.thresholds.logits  # type: ignore[union-attr]
    expected = logits.sigmoid()  # no temperature, one look
    torch.testing.assert_close(torch.tensor(thresholds_of(network)), expected, atol=1e-6, rtol=0)
    for row in rows:
        if row["error"]:
            assert row["classes"] is None
            continue
        said = alone(network, row["path"])[0]
        assert set(row["classes"]) == {names[index] for index in (said >= logits).nonzero().flatten().tolist()}
        assert row["probabilities"] == sorted(row["probabilities"], reverse=True)
    assert any(row["classes"] for row in rows)


def test_numbers_are_answered_as_numbers(tmp_path: Path, photos: Path, capfd: Captured) -> None:
    run = small_run(tmp_path / "run", *REGRESSION)
    assert predict(f"run={run}", f"input={photos}", "output=a.csv", "num_workers=0", "batch_size=1") == 0
    network = Trained(run)
    for row in rows_of("a.csv"):
        if not row["error"]:
            assert float(row["value"]) == alone(network, row["path"]).item()
    assert "probabilities" not in capfd.readouterr().out


def test_a_temperature_that_was_chosen_is_in_the_probabilities(tmp_path: Path, photos: Path, capfd: Captured) -> None:
    run = small_run(tmp_path / "run", "test_time.temperature=true")
    capfd.readouterr()
    assert predict(f"run={run}", f"input={photos}/001.png", "output=-", "top=1") == 0
    printed = capfd.readouterr()
    network = Trained(run)
    assert network.test_time.temperature != 1
    raw = network.classifier(network.classifier.augment.normalize(read_for(network.facts, photos / "001.png")[None]))
    best = (raw / network.test_time.temperature).softmax(1).max()
    assert float(printed.out.splitlines()[1].split(",")[2]) == pytest.approx(best.item(), abs=2e-6)
    assert "no temperature" not in printed.err
    assert predict(f"run={run}", f"input={photos}/001.png", "output=a.csv", "checkpoint=last") == 0
    assert "the run's temperature is that of its best weights" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["top=0"], "top=0 is out of range: give 1 or more"),
        (["batch_size=0"], "batch_size=0 is out of range: give 1 or more"),
        (["num_workers=-1"], "num_workers=-1 is out of range: give 0 or more, or null"),
        (["output=x.txt"], "output=x.txt: expected a name that ends with"),
        (["output=Bilder é/000.jpg/x.csv"], "output=Bilder é/000.jpg/x.csv cannot be written"),
        (["input=nowhere"], "input=nowhere: nothing is there"),
    ],
)
def test_a_wrong_word_is_one_sentence(
    words: list[str], sentence: str, run: Path, photos: Path, capfd: Captured
) -> None:
    assert predict(f"run={run}", "input=Bilder é", "num_workers=0", *words) == 1
    assert f"error: {sentence}" in capfd.readouterr().err


def test_a_row_without_a_path_says_so(run: Path, photos: Path, capfd: Captured) -> None:
    Path("list.csv").write_text(f"path,camera\n{photos}/001.png,a\n,b\n", encoding="utf-8")
    assert predict(f"run={run}", "input=list.csv", "output=a.csv", "num_workers=0") == 0
    assert [row["error"] for row in rows_of("a.csv")] == ["", "no path stands here"]
    assert "of which 1 cannot be read: an empty path (no path stands here)" in capfd.readouterr().out


def test_images_of_which_none_can_be_read_are_an_error_with_a_table(run: Path, photos: Path, capfd: Captured) -> None:
    for path in photos.iterdir():
        path.write_bytes(b"")
    assert predict(f"run={run}", f"input={photos}", "output=a.csv", "num_workers=0") == 1
    assert "error: none of 23 images can be read" in capfd.readouterr().err
    assert all(row["error"] for row in rows_of("a.csv"))
