"""Wheel and sdist hold all that a run needs, and a wheel trains where there is nothing else of the repository."""

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHORT = ["backbone.width=16", "trainer=cpu", "pictures=false"]


def run(*command: str | Path, where: Path, timeout: float = 300) -> str:
    """What a command prints, which must not fail; nothing of this clone is on its path."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [*map(str, command)], cwd=where, env=environment, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def built(source: Path, place: Path, *kinds: str) -> list[Path]:
    """The files that hatchling, the build backend, makes of a source tree, by name."""
    pytest.importorskip("hatchling")
    run(sys.executable, "-m", "hatchling", "build", "-d", place, *kinds, where=source)
    return sorted(place.iterdir())


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    """The wheel and the sdist of this clone."""
    return built(ROOT, tmp_path_factory.mktemp("dist"))


def test_wheel_holds_every_file_of_the_package_and_conf(distributions: Sequence[Path]) -> None:
    wheel, _ = distributions
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    there = {path.relative_to(ROOT / "src") for path in (ROOT / "src").rglob("*") if path.is_file()}
    expected = {path.as_posix() for path in there if not any("__pycache__" in part for part in path.parts)}
    expected |= {f"leyden/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*") if path.is_file()}
    assert held == expected
    for name in ("leyden/conf/train.yaml", "leyden/report/page.css", "leyden/live/page.js", "leyden/data/digits.npz"):
        assert name in held


def test_wheel_of_the_sdist_is_the_wheel(distributions: Sequence[Path], tmp_path: Path) -> None:
    wheel, sdist = distributions
    with tarfile.open(sdist) as file:
        file.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    for name in ("tests/test_packaging.py", "docs/data.md", "Makefile", "constraints.txt"):
        assert (source / name).is_file(), name
    (again,) = built(source, tmp_path / "dist", "-t", "wheel")
    contents = [
        {item.filename: item.CRC for item in zipfile.ZipFile(path).infolist() if "RECORD" not in item.filename}
        for path in (wheel, again)
    ]
    assert contents[0] == contents[1]


@pytest.mark.whole
def test_wheel_trains_from_an_empty_directory(distributions: Sequence[Path], tmp_path: Path) -> None:
    """The packages that it needs are those of this environment, but for leyden itself."""
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    zipfile.ZipFile(distributions[0]).extractall(site)
    others = [path for path in sys.path if path.endswith("site-packages")]
    (site / "others.pth").write_text("\n".join(others) + "\n", encoding="utf-8")
    empty = tmp_path / "empty"
    empty.mkdir()
    trains_and_writes_projects([python, "-P", "-m", "leyden"], site, empty)


def trains_and_writes_projects(leyden: Sequence[str | Path], site: Path, where: Path) -> None:
    """What an installed `leyden` is to do in an empty directory."""
    place = run(leyden[0], "-c", "import leyden.config; print(leyden.config.CONFIG_DIRECTORY)", where=where).strip()
    assert place == str(site / "leyden" / "conf")
    assert "leyden train" in run(*leyden, "--help", where=where)
    assert "test accuracy" in run(*leyden, "train", "backbone=mlp", "epochs=2", *SHORT, where=where)
    run(*leyden, "new", "birds", where=where)
    words = ["train", "experiment=birds", "epochs=1", "logger=csv", "backbone.depth=1", *SHORT]
    assert "test accuracy" in run(*leyden, *words, where=where / "birds")


@pytest.mark.network
def test_wheel_installs_with_its_dependencies_alone_and_trains(distributions: Sequence[Path], tmp_path: Path) -> None:
    """pip finds the tested versions by itself; minutes, and gigabytes for a while."""
    venv.create(tmp_path / "venv", with_pip=True)
    binaries = tmp_path / "venv" / "bin"
    pip = [binaries / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(*pip, distributions[0], "-c", ROOT / "constraints.txt", where=tmp_path, timeout=1800)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    empty = tmp_path / "empty"
    empty.mkdir()
    trains_and_writes_projects([binaries / "python", binaries / "leyden"], site, empty)
    run(*pip, f"{empty / 'birds'}[test]", "-c", ROOT / "constraints.txt", where=tmp_path, timeout=600)
    assert "4 passed" in run(binaries / "python", "-m", "pytest", where=empty / "birds")
