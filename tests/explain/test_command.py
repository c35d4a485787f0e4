"""`leyden explain run=…`: what it leaves behind, from a run's directory alone, and what it says of bad input."""

import json
import shutil
from pathlib import Path

import pytest

from leyden import command_line
from small_runs import small_run, write_images

CNN = ["backbone=cnn", "backbone.widths=[4,8]", "pictures=true"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose directory was moved to another place."""
    whole = small_run(tmp_path_factory.mktemp("explained") / "run", *CNN)
    moved = whole.with_name("moved é, with spaces")
    shutil.move(whole, moved)
    return moved


def test_a_run_alone_is_explained(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.of_a_run("explain", [f"run={run}", "num_images=3"]) == 0
    told = capsys.readouterr().out
    assert "Grad-CAM" in told
    assert "features              of 359 images on a plane" in told
    facts = json.loads((run / "explain" / "explain.json").read_text(encoding="utf-8"))
    assert facts["sanity"].keys() == {"Grad-CAM", "integrated gradients"}
    assert facts["integrated_gradients_error"] < 0.1
    page = (run / "explain" / "explain.html").read_text(encoding="utf-8")
    assert "Sanity check" in page
    assert '"x":[' in page
    assert {path.name for path in (run / "explain").glob("*.png")} == {"overlays.png", "filters.png"}


def test_images_of_ones_own_and_a_class_asked_about(run: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "photos", 3)
    (tmp_path / "photos" / "zz.png").write_bytes(b"no image")
    words = [f"run={run}", f"input={tmp_path / 'photos'}", "answer=7", "features=false", f"output={tmp_path / 'out'}"]
    assert command_line.of_a_run("explain", words) == 0
    facts = json.loads((tmp_path / "out" / "explain.json").read_text(encoding="utf-8"))
    assert [Path(name).name for name in facts["images"]] == ["000.jpg", "001.png", "002.png"]
    assert facts["features"] is None


def test_a_network_without_places_has_pixels_alone(tmp_path: Path) -> None:
    directory = small_run(tmp_path / "mlp")
    write_images(tmp_path, 2)
    words = [f"run={directory}", f"input={tmp_path}/*.png", "features=false"]
    assert command_line.of_a_run("explain", words) == 0
    facts = json.loads((directory / "explain" / "explain.json").read_text(encoding="utf-8"))
    assert facts["sanity"].keys() == {"integrated gradients"}
    assert facts["grad_cam_layer"] is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["answer=cat"], "answer=cat is no class of the run: it has 0, 1, 2"),
        (["num_images=0"], "num_images=0 is out of range: give 1 to 64"),
        (["num_images=500"], "num_images=500 is out of range: give 1 to 64"),
        (["input=nowhere.png"], "input=nowhere.png: nothing is there"),
        (["inptu=x"], "unknown key 'inptu' (inptu=x): did you mean 'input'?"),
    ],
)
def test_bad_input_gets_a_sentence(
    words: list[str], sentence: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.of_a_run("explain", [f"run={run}", *words]) == 1
    assert sentence in capsys.readouterr().err
