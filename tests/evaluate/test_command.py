"""`leyden evaluate`, from a run's directory alone, against what the run itself has recorded."""

import itertools
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from PIL import Image

from browsing import SIZES, needs_browser
from leyden import command_line
from leyden.config import Origin
from leyden.data import Digits
from leyden.signals import Signals
from leyden.train import train
from running import TINY, FinishedRun, compose_config
from task_sources import MULTI_LABEL, REGRESSION

QUICK = ["pictures=false", "epochs=1"]
SMALL = [
    "data.source.image_size=8", "data.source.channels=1", "data.source.mean=[0.3]", "data.source.std=[0.38]",
    "data.num_workers=0", "data.cache=memory",
]  # fmt: skip
Evaluate = Callable[..., tuple[int, str]]


def trained(directory: Path, *words: str) -> FinishedRun:
    with Signals() as signals:
        train(compose_config(*TINY, *QUICK, *words), directory, Origin(words), signals)
    return FinishedRun(directory)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A run that was moved after it had ended."""
    place = tmp_path_factory.mktemp("runs")
    run = trained(place / "first", "backbone.width=32", "test_time.temperature=true")
    shutil.move(run.directory, place / "moved, é")
    return FinishedRun(place / "moved, é")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FinishedRun]:
    """200 digits as files with a table that has a column more, and a run on them."""
    place = tmp_path_factory.mktemp("files")
    images, labels = Digits().load(place)[:2]
    rows = []
    for number in range(200):
        path = place / "photos" / f"d{int(labels[number])}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[number, 0].numpy()).save(path)
        rows.append((f"{path.parent.name}/{path.name}", path.parent.name, "north" if number % 3 else "south"))
    pandas.DataFrame(rows, columns=["path", "label", "camera"]).to_csv(place / "table.csv", index=False)
    where = [f"data.root={place / 'photos'}", f"data.source.file={place / 'table.csv'}"]
    return place, trained(place / "run", "data=table", *where, *SMALL)


@pytest.fixture
def evaluate(capfd: pytest.CaptureFixture[str]) -> Evaluate:
    """`leyden evaluate` in this process; its exit code and all that it printed."""

    def run(*words: str) -> tuple[int, str]:
        code = command_line.of_a_run("evaluate", [*words, "pictures=false"])
        return code, "".join(capfd.readouterr())

    return run


def found(directory: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((directory / "evaluation.json").read_text(encoding="utf-8"))
    return facts


def assert_as_recorded(run: FinishedRun, facts: dict[str, Any]) -> None:
    names = [name.removeprefix("test/") for name in run.metrics if name.startswith("test/")]
    assert set(names) == facts["metrics"].keys()
    for name in names:
        assert facts["metrics"][name]["value"] == pytest.approx(run.metrics[f"test/{name}"], abs=1e-6), name
        assert facts["metrics"][name]["interval"] == pytest.approx(run.record["intervals"][f"test/{name}"], abs=1e-6)


def test_metrics_are_those_of_the_runs_own_end(digits: FinishedRun, evaluate: Evaluate) -> None:
    code, said = evaluate(f"run={digits.directory}")
    assert code == 0, said
    facts = found(digits.directory / "evaluate" / "test")
    assert_as_recorded(digits, facts)
    assert facts["data"] == {
        "name": "digits", "split": "test", "is_own": True, "fingerprint": digits.record["data"]["fingerprint"],
        "images": 359, "unreadable": 0,
    }  # fmt: skip
    assert facts["calibration"]["temperature"] == pytest.approx(1, abs=0.01)  # the run has chosen its own
    for name in ("confusion_matrix.csv", "precision_recall.csv"):
        assert (digits.directory / "evaluate" / "test" / name).read_text() == (digits.directory / name).read_text()


@pytest.mark.parametrize("words", [[*MULTI_LABEL, "test_time.temperature=true"], REGRESSION])
def test_those_of_several_labels_and_of_numbers_too(words: list[str], tmp_path: Path, evaluate: Evaluate) -> None:
    run = trained(tmp_path / "run", *words)
    code, said = evaluate(f"run={run.directory}", "corruptions=contrast", "severities=5", "ood=digits")
    assert code == 0, said
    facts = found(run.directory / "evaluate" / "test")
    assert_as_recorded(run, facts)
    assert "selective prediction" in facts["skipped"]
    assert ("outside" in facts) == (facts["task"] == "multi_label")


def test_the_answer_to_each_image_is_stored(digits: FinishedRun, evaluate: Evaluate) -> None:
    code, said = evaluate(f"run={digits.directory}", "split=val", "checkpoint=last")
    assert code == 0, said
    directory = digits.directory / "evaluate" / "val_last"
    table = pandas.read_parquet(directory / "predictions.parquet")
    probabilities = table[[f"probability/{digit}" for digit in range(10)]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert (probabilities.argmax(1) == table["prediction"]).all()
    assert (table["label"] == table["prediction"]).mean() == pytest.approx(
        found(directory)["metrics"]["accuracy"]["value"]
    )
    assert table["index"].is_monotonic_increasing
    assert "calibration" in found(directory)["skipped"]  # a temperature is not tried where it was fitted


def test_corruptions_selection_and_other_data_stand_in_the_result(digits: FinishedRun, evaluate: Evaluate) -> None:
    words = ["corruptions=noise,fog", "severities=2", "ood=digits", "output=" + str(digits.directory / "elsewhere")]
    code, said = evaluate(f"run={digits.directory}", *words)
    assert code == 0, said
    facts = found(digits.directory / "elsewhere")
    assert list(facts["corruptions"]["corruptions"]) == ["gaussian_noise", "shot_noise", "impulse_noise", "fog"]
    assert facts["outside"]["auroc"]["max_probability"]["value"] == pytest.approx(0.5, abs=0.1)  # the same digits
    assert facts["selective"]["curve"][-1][0] == 1.0
    assert "AUROC" in said


def test_of_a_checkpoint_file_the_result_has_its_name_whatever_is_asked(
    digits: FinishedRun, tmp_path: Path, evaluate: Evaluate
) -> None:
    (tmp_path / "evaluation.json").write_text('{"predictions": "predictions.csv", "pictures": ["old.png"]}')
    of_before = [tmp_path / name for name in ("skipped_images.csv", "predictions.csv", "old.png")]
    for path in (*of_before, tmp_path / "of the user.csv"):
        path.touch()
    words = ["checkpoint=last", "split=all", "severities=1", f"output={tmp_path}"]
    code, said = evaluate(f"run={digits.directory / 'checkpoints' / 'best.ckpt'}", *words)
    assert code == 0, said
    assert found(tmp_path)["checkpoint"] == "best"
    assert "calibration" in found(tmp_path)["skipped"]  # validation images are among all
    assert "severities=1 is not used" in said
    assert not any(path.exists() for path in of_before)
    assert (tmp_path / "of the user.csv").exists()


def test_results_do_not_take_the_place_of_other_files(digits: FinishedRun, tmp_path: Path, evaluate: Evaluate) -> None:
    (tmp_path / "predictions.csv").touch()
    code, said = evaluate(f"run={digits.directory}", f"output={tmp_path}")
    assert code == 1
    assert f"output={tmp_path} holds other files: give a new directory" in said
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.csv"]


def test_options_of_the_users_own_are_those_of_where_the_command_is_typed(
    digits: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluate: Evaluate
) -> None:
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "cells.yaml").write_text("defaults: [digits]\nsource: {_target_: cells.Cells}\n")
    (tmp_path / "cells.py").write_text("from leyden.data import Digits\n\nclass Cells(Digits):\n    name = 'cells'\n")
    monkeypatch.chdir(tmp_path)
    code, said = evaluate(f"run={digits.directory}", "data=cells", "pictures=false", f"output={tmp_path / 'out'}")
    assert code == 0, said
    assert "359 of cells, test" in said  # which are digits, under another name


def test_other_data_without_a_readable_image_get_a_sentence(
    digits: FinishedRun, tmp_path: Path, evaluate: Evaluate
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"no image")
    words = ["ood=image_folder", f"ood.root={tmp_path}", "ood.num_workers=0"]
    code, said = evaluate(f"run={digits.directory}", *words)
    assert code == 1
    assert "ood.on_error=skip" in said
    code, said = evaluate(f"run={digits.directory}", *words, "ood.on_error=skip")
    assert code == 1
    assert "none of its images could be read" in said
    code, said = evaluate(f"run={digits.directory}", "ood=image_folder")
    assert code == 1
    assert "ood.root has no value: give one, as in ood.root=…" in said


def test_slices_are_the_accuracies_of_their_images(files: tuple[Path, FinishedRun], evaluate: Evaluate) -> None:
    place, run = files
    code, said = evaluate(f"run={run.directory}", "slice=camera")
    assert code == 0, said
    directory = run.directory / "evaluate" / "test"
    assert_as_recorded(run, found(directory))
    answers = pandas.read_parquet(directory / "predictions.parquet").merge(
        pandas.read_csv(place / "table.csv"), "left", "path"
    )
    answers["is_right"] = answers["prediction_name"] == answers["label_y"]
    theirs = answers.groupby("camera")["is_right"].agg(["mean", "size"])
    for row in found(directory)["slices"]["camera"]:
        assert (row["value"], row["images"]) == pytest.approx(tuple(theirs.loc[row["value_of_column"]]))


def test_other_images_are_judged_by_the_names_of_their_classes(
    files: tuple[Path, FinishedRun], tmp_path: Path, evaluate: Evaluate
) -> None:
    place, run = files
    other = tmp_path / "other é"
    for name, to in (("d1", "d1"), ("d7", "d7"), ("d0", "zero")):
        shutil.copytree(place / "photos" / name, other / to)
    code, said = evaluate(f"run={run.directory}", "data=image_folder", f"data.root={other}", "data.num_workers=0")
    assert code == 0, said
    assert "does not know the classes zero" in said
    facts = found(run.directory / "evaluate" / "other_é_all")
    table = pandas.read_parquet(run.directory / "evaluate" / "other_é_all" / "predictions.parquet")
    assert set(table["label_name"]) == {"d1", "d7"}
    assert facts["data"]["images"] == sum(len([*(other / name).iterdir()]) for name in ("d1", "d7"))
    own = {row["class"]: row for row in facts["classes"]}
    assert own["d0"]["images"] == 0


def test_data_that_are_gone_are_asked_for_and_found_again(
    files: tuple[Path, FinishedRun], tmp_path: Path, evaluate: Evaluate
) -> None:
    place, run = files
    moved = tmp_path / "moved"
    shutil.move(place / "photos", moved)
    try:
        code, said = evaluate(f"run={run.directory}")
        assert code == 1
        assert re.search(
            r"error: the data of the run cannot be read \(.*\): say where it lies now by data.root=…", said
        )
        assert "Traceback" not in said
        code, said = evaluate(f"run={run.directory}", f"data.root={moved}")
        assert code == 0, said
        assert_as_recorded(run, found(run.directory / "evaluate" / "test"))
    finally:
        shutil.move(moved, place / "photos")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["slice=camera"], "slice=camera: digits has no table to take it from"),
        (["corruptions=nois"], "did you mean 'noise'?"),
        (["severities=6"], "severities=6: expected numbers from 1 to 5"),
        (["splt=val"], "unknown key 'splt' (splt=val): did you mean 'split'?"),
        (["data=digts"], "data=digts: there is no such file in conf/data: did you mean 'digits'?"),
        (["checkpoint=nothing.ckpt"], "checkpoint=nothing.ckpt is no file"),
        (["ood=image_folder"], "ood.root has no value"),
    ],
)
def test_a_wrong_word_gets_one_sentence(
    words: list[str], sentence: str, digits: FinishedRun, evaluate: Evaluate
) -> None:
    code, said = evaluate(f"run={digits.directory}", *words)
    assert code == 1
    assert sentence in said
    assert said.count("\n") == 1, said


def test_a_file_of_other_classes_is_refused(digits: FinishedRun, tmp_path: Path, evaluate: Evaluate) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("L", (9, 9)).save(tmp_path / name / "1.png")
    code, said = evaluate(f"run={digits.directory}", "data=image_folder", f"data.root={tmp_path}")
    assert code == 1
    assert "none of its classes (cat, dog) is one of the run's (0, 1, 2, 3, 4 and 5 more): name them alike" in said


@needs_browser
def test_the_page_stands_alone_and_fits_a_phone(digits: FinishedRun, browser: Any) -> None:
    directory = digits.directory / "page"
    words = ["corruptions=brightness", "severities=1,3", "ood=digits", f"output={directory}"]
    assert command_line.of_a_run("evaluate", [f"run={digits.directory}", *words]) == 0
    text = (directory / "evaluation.html").read_text(encoding="utf-8")
    pictures = re.findall(r"<img ([^>]*)>", text)
    assert len(pictures) == 8
    assert all('alt="' in picture and 'src="data:' in picture for picture in pictures)
    assert "Mean corruption error" in text
    asked: list[str] = []
    for scheme, size in itertools.product(("light", "dark"), SIZES.values()):
        context = browser.new_context(viewport=size, color_scheme=scheme)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto((directory / "evaluation.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        context.close()
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
