"""`leyden export` on a real run that was moved: every format answers as the run was tested, or leaves nothing."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from exports import train_once, untrained
from leyden import command_line
from leyden.build import build_data
from leyden.checkpoint import read_checkpoint, write_checkpoint
from leyden.export import parity
from leyden.export.command import NAMES, size_of
from leyden.export.opened import Opened
from leyden.export.whole import describe
from leyden.predict.answers import calibration_of
from leyden.predictions import read_predictions
from leyden.trained import Trained, ask, open_network

WORDS = ["backbone=cnn", "backbone.widths=[4,8]", "test_time=flips", "test_time.temperature=true"]


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's directory, elsewhere than it was trained, of a name that is not plain."""
    place = tmp_path_factory.mktemp("runs")
    run = train_once(place / "run", *WORDS)
    return Path(shutil.move(run.directory, place / "moved, with a space é"))


@contextmanager
def unchanged(directory: Path) -> Iterator[None]:
    """Nothing is there at the end that was not there before."""
    before = {path.relative_to(directory) for path in directory.rglob("*")}
    yield
    assert {path.relative_to(directory) for path in directory.rglob("*")} == before


@pytest.mark.parametrize("format", NAMES)
def test_each_format_answers_as_the_run_was_tested(format: str, moved: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command_line.of_a_run("export", [f"run={moved}", f"format={format}"]) == 0
    said = capfd.readouterr().out
    assert float(re.findall(r"parity +128 test images of digits: differences of up to (\S+)", said)[0]) <= 1e-4
    written = moved / "export" / NAMES[format]
    assert str(written) in said
    assert not list(written.parent.glob(".*"))
    opened = open_network(written)
    assert isinstance(opened, Opened)
    data = build_data(opened.config)
    data.setup("fit")
    answers = ask(opened, data.test_dataloader())
    stored = read_predictions(moved)
    assert stored is not None
    assert stored.confidences is not None
    found = answers.outputs[answers.indices.argsort()].softmax(1).max(1)
    assert np.array_equal(found.indices.numpy(), stored.predictions)
    np.testing.assert_allclose(found.values.numpy(), stored.confidences, atol=1e-4)


@pytest.mark.parametrize(("size", "words"), [(9_421, "9.2 KiB"), (2**20 - 52, "1,023.9 KiB"), (2**20, "1.0 MiB")])
def test_what_is_small_is_said_in_kibibytes(size: int, words: str, tmp_path: Path) -> None:
    (tmp_path / "model.pt2").write_bytes(bytes(size))
    assert size_of(tmp_path / "model.pt2") == size_of(tmp_path) == words


@pytest.mark.parametrize("checkpoint", ["best", "last"])
def test_an_export_is_calibrated_where_a_temperature_was_chosen_for_its_weights(checkpoint: str, moved: Path) -> None:
    network = open_network(moved, checkpoint, "cpu")
    assert isinstance(network, Trained)
    told, is_best = describe(network), checkpoint == "best"
    assert (told["is_calibrated"], told["temperature"] != 1, calibration_of(network) == "") == (is_best,) * 3


def test_evaluate_takes_an_export_as_it_takes_the_run(moved: Path, tmp_path: Path) -> None:
    words = [f"run={moved}", "format=safetensors", f"output={tmp_path / 'out'}"]
    assert command_line.of_a_run("export", words) == 0
    words = [f"run={tmp_path / 'out'}", f"output={tmp_path / 'evaluated'}", "pictures=false"]
    assert command_line.of_a_run("evaluate", words) == 0
    found = json.loads((tmp_path / "evaluated" / "evaluation.json").read_text(encoding="utf-8"))
    stored = json.loads((moved / "run.json").read_text(encoding="utf-8"))
    assert found["data"]["split"] == "test"
    assert found["metrics"]["accuracy"]["value"] == pytest.approx(stored["metrics"]["test/accuracy"], abs=1e-9)


def test_what_is_found_of_an_export_does_not_take_the_place_of_the_runs(
    moved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(moved)
    assert command_line.of_a_run("export", [f"run={moved}", "format=torch_export"]) == 0
    assert command_line.of_a_run("evaluate", ["run=.", "pictures=false"]) == 0
    before = (moved / "evaluate" / "test" / "evaluation.json").read_bytes()
    assert command_line.of_a_run("evaluate", ["run=export/model.pt2", "pictures=false"]) == 0
    assert (moved / "evaluate" / "test" / "evaluation.json").read_bytes() == before
    assert (moved / "evaluate" / "test_model.pt2" / "evaluation.json").is_file()


def test_eight_bits_tell_what_they_cost(moved: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "a b.onnx"
    assert command_line.of_a_run("export", [f"run={moved}", "quantize=true", f"output={output}"]) == 0
    said = capfd.readouterr().out
    before, after, agreed = (
        float(number)
        for number in re.findall(r"accuracy (\S+)% \(.*?before, (\S+)% .*on all 359 .*the same answer to (\S+)%", said)[
            0
        ]
    )
    whole, small = open_network(output), open_network(tmp_path / "a b.int8.onnx")
    assert isinstance(whole, Opened)
    assert small.facts == whole.facts
    data = build_data(whole.config)
    data.setup("fit")
    answers = [ask(network, data.test_dataloader()) for network in (whole, small)]
    accuracies = [float((each.outputs.argmax(1) == each.labels).double().mean()) for each in answers]
    assert [before, after] == [round(100 * accuracy, 2) for accuracy in accuracies]
    same = (answers[0].outputs.argmax(1) == answers[1].outputs.argmax(1)).double().mean()
    assert agreed == round(100 * float(same), 2)
    assert not torch.equal(answers[0].outputs, answers[1].outputs)  # or nothing would have been rounded


def test_what_answers_otherwise_gets_no_name(
    moved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parity, "TOLERANCE", -1.0)
    with unchanged(tmp_path):
        assert command_line.of_a_run("export", [f"run={moved}", "format=safetensors", f"output={tmp_path / 'x'}"]) == 1
    assert "answers otherwise than the network, by up to" in capfd.readouterr().err


def test_weights_that_a_run_began_with_need_not_be_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train_once(tmp_path / "first", "backbone=mlp", "backbone.width=8")
    train_once(tmp_path / "run", "backbone=mlp", "backbone.width=8", f"weights={tmp_path / 'first'}")
    shutil.rmtree(tmp_path / "first")
    assert command_line.of_a_run("export", [f"run={tmp_path / 'run'}", "format=safetensors"]) == 0
    assert "parity          128 test images of digits" in capfd.readouterr().out


def test_photographs_stand_in_for_data_that_is_gone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    untrained(tmp_path / "run", "backbone.width=8", "data=image_folder", "data.root=gone")
    assert command_line.of_a_run("export", [f"run={tmp_path / 'run'}", "format=safetensors"]) == 0
    said = capfd.readouterr()
    assert "parity          128 pieces of photographs: differences of up to" in said.out
    assert "the run's data is not here" in said.err


@pytest.mark.parametrize(
    ("precision", "words"),
    [("32-true", ""), ("bf16-mixed", "with answers that differ from these by up to"), ("16-mixed", "which no CPU has")],
)
def test_half_precision_of_the_test_is_compared_where_a_cpu_has_it(
    precision: str, words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = untrained(tmp_path / "run", "backbone.width=8", "data=image_folder", "data.root=gone").path
    state = read_checkpoint(path)
    state["run"]["precision"] = precision
    write_checkpoint(state, path)
    assert command_line.of_a_run("export", [f"run={tmp_path / 'run'}", "format=safetensors"]) == 0
    said = [line for line in capfd.readouterr().out.splitlines() if line.startswith("precision ")]
    assert len(said) == bool(words)
    assert all(f"the run was tested in {precision}, {words}" in line for line in said)


def test_an_export_is_written_again_in_its_place(tmp_path: Path) -> None:
    untrained(tmp_path / "run", "backbone.width=8", "data=image_folder", "data.root=gone")
    words = [f"run={tmp_path / 'run'}", "format=huggingface", f"output={tmp_path / 'again'}"]
    assert command_line.of_a_run("export", words) == 0
    (tmp_path / "again" / "README.md").write_text("mine")
    assert command_line.of_a_run("export", words) == 0
    assert (tmp_path / "again" / "README.md").read_text().startswith("---")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "run"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["format=onxx"], "format=onxx: did you mean 'onnx'?"),
        (
            ["quantize=true", "format=safetensors"],
            "quantize=true is for format=onnx, not for safetensors: leave it out",
        ),
        (["output=model"], "output=model: expected a name that ends in .onnx"),
        (["checkpoint=lst"], "checkpoint=lst is no file: give one, or best or last"),
        (
            ["format=safetensors", "output=full"],
            "output=full is a directory that holds something else: give another name",
        ),
        (["format=safetensors", "output=clone"], "output=clone is a directory that holds something else"),
        (["format=safetensors", "output=file"], "output=file is a file, and safetensors is a directory"),
        (["format=safetensors", "output=file/below"], "output=file/below cannot be written (Not a directory): give an"),
    ],
)
def test_a_wrong_word_gets_one_sentence_and_leaves_nothing(
    words: list[str], sentence: str, moved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name in ("full", "clone"):
        (tmp_path / name).mkdir()
    for name in ("full/notes.txt", "clone/config.json", "clone/model.safetensors", "clone/.gitattributes", "file"):
        (tmp_path / name).write_text("mine")
    with unchanged(tmp_path):
        assert command_line.of_a_run("export", [f"run={moved}", *words]) == 1
    assert f"error: {sentence}" in capfd.readouterr().err


def test_a_run_that_may_not_be_written_is_exported_here(
    moved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda *arguments: False)  # root may write everywhere
    assert command_line.of_a_run("export", [f"run={moved}", "format=safetensors"]) == 0
    assert (tmp_path / "export" / "safetensors" / "model.safetensors").is_file()
