"""A written project trains its own backbone, in processes of its own too, and passes its own test."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from leyden import command_line
from leyden.new.write import FOLDERS, TEMPLATE, package_name, template_files, write_project

pytestmark = pytest.mark.whole

SHORT = ["backbone.width=8", "backbone.depth=1", "epochs=1", "trainer=cpu", "logger=csv", "pictures=false"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("somewhere") / "Wild-Birds"
    assert write_project(directory) == "wild_birds"
    return directory


def run(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A module as its program would run: with -P, Python does not look where it is called."""
    command = [sys.executable, "-P", "-m", *words]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300)


def test_study_of_the_recipe_runs_and_its_runs_are_gone_on_with_from_elsewhere(project: Path, tmp_path: Path) -> None:
    done = run(project, "leyden", "train", "-m", "experiment=wild_birds", "seed=0,1", "jobs=1", *SHORT)
    assert done.returncode == 0, done.stderr
    runs = [path.parent for path in project.glob("runs/*/*/*/run.json")]
    assert len(runs) == 2
    done = run(tmp_path, "leyden", "resume", str(runs[0]))
    assert done.returncode == 0, done.stderr
    assert "is finished: nothing to do" in done.stdout


def test_run_answers_where_its_backbone_is_not(project: Path, tmp_path: Path) -> None:
    done = run(project, "leyden", "train", "experiment=wild_birds", "hydra.run.dir=runs/one", *SHORT)
    assert done.returncode == 0, done.stderr
    said = f"warning: wild_birds: not found here, taken from {project}, where the run was called"
    (tmp_path / "wild_birds").mkdir()  # a directory that is merely called so
    for command in ("evaluate", "card"):
        done = run(tmp_path, "leyden", command, f"run={project / 'runs/one'}")
        assert done.returncode == 0, done.stderr
        assert said in done.stderr.splitlines()
    assert said not in run(project, "leyden", "card", "run=runs/one").stderr
    shutil.move(project / "wild_birds", project / "gone")
    done = run(tmp_path, "leyden", "card", f"run={project / 'runs/one'}")
    shutil.move(project / "gone", project / "wild_birds")
    assert done.returncode == 1
    assert "modules of your own are found where the command is typed, and where the run was" in done.stderr
    assert "Traceback" not in done.stderr


def test_its_own_test_passes(project: Path) -> None:
    done = run(project, "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


def test_misspelt_key_of_its_files_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_project(tmp_path / "birds")
    file = tmp_path / "birds" / "conf" / "backbone" / "conv_mixer.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("depth", "detph"), encoding="utf-8")
    monkeypatch.chdir(tmp_path / "birds")
    monkeypatch.delitem(sys.modules, "birds", raising=False)
    assert command_line.train(["experiment=birds", "logger=csv"]) == 1
    assert f"unknown key 'backbone.detph' (file {file}): did you mean 'depth'?" in capsys.readouterr().err


def test_only_the_name_is_replaced(tmp_path: Path) -> None:
    project = tmp_path / "wild_birds"
    write_project(project)
    written = {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}
    assert written == {str(path.relative_to(TEMPLATE)).replace("my_project", "wild_birds") for path in template_files()}
    for path in written:
        assert "my_project" not in (project / path).read_text(encoding="utf-8"), path


def test_directory_with_something_in_it_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "birds").mkdir()
    (tmp_path / "birds" / "mine.txt").touch()
    assert command_line.new([str(tmp_path / "birds")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said == [f"error: {tmp_path / 'birds'} is there already and not an empty directory: give a new one"]
    assert [path.name for path in (tmp_path / "birds").iterdir()] == ["mine.txt"]
    assert command_line.new([str(tmp_path / "birds" / "mine.txt")]) == 1


def test_what_was_written_and_what_to_try_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "birds").mkdir()  # an empty one may be there
    assert command_line.new([str(tmp_path / "birds")]) == 0
    assert "train experiment=birds" in capsys.readouterr().out
    assert command_line.new([str(tmp_path / "wild birds")]) == 0
    assert f"cd '{tmp_path / 'wild birds'}'" in capsys.readouterr().out
    assert command_line.new([]) == 1
    assert "usage: leyden new <directory>" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("title", "name"), [("birds", "birds"), ("Wild-Birds", "wild_birds"), ("a.b c", "a_b_c"), ("v2", "v2")]
)
def test_package_is_named_after_the_directory(title: str, name: str) -> None:
    assert package_name(Path(title)) == name


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("2birds", "cannot name a Python package"),
        ("vögel", "cannot name a Python package"),
        ("class", "cannot name a Python package"),
        ("torch", "there is a Python package torch already"),
        ("leyden", "there is a Python package leyden already"),
        ("random", "there is a Python package random already"),
        ("fashion_mnist", "there is a recipe experiment=fashion_mnist already"),
        *[(folder, f"a project has a directory {folder} beside its package") for folder in FOLDERS],
    ],
)
def test_name_that_would_hide_something_is_refused(title: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        package_name(Path(title))
