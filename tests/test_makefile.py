"""What `make` says that a command is given, in the places where a shell decides it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RECORDS = """#!/bin/sh
echo "$(basename $0) $*" >> {log}
for word in "$@"; do case "$word" in hydra.run.dir=*) mkdir -p "${{word#*=}}";; esac; done
mkdir -p runs/other/newer && touch runs/other/newer/run.json
"""


@pytest.mark.parametrize("target", ["finetune", "finetune-fast"])
@pytest.mark.parametrize("given", ["", "-m data.split_seed=0,1"])
def test_finetune_compares_what_it_has_trained_and_nothing_newer(target: str, given: str, tmp_path: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    log, programs = tmp_path / "log", tmp_path / "venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("leyden", "python"):
        (programs / name).write_text(RECORDS.format(log=log), encoding="utf-8")
        (programs / name).chmod(0o755)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "constraints.txt").touch()
    for stamp in ("stamp", "stamp-finetune"):
        (tmp_path / "venv" / stamp).touch()
    command = ["make", "-f", str(ROOT / "Makefile"), f"VENV={programs.parent}", target, f"ARGS={given}"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60, env=kept)
    trained, compared = log.read_text(encoding="utf-8").splitlines()
    place = compared.removeprefix("python -m benchmarks.elpv ")
    assert {"finetune": "experiment=elpv_finetune", "finetune-fast": "experiment=elpv_probe"}[target] in trained.split()
    assert place.startswith(f"runs/{target}/")
    assert {f"hydra.run.dir={place}", f"hydra.sweep.dir={place}", *given.split()} < set(trained.split())
    assert place.endswith("/study") == bool(given)


def test_clean_takes_away_nothing_that_it_is_handed(tmp_path: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    for name in ("runs", "dist"):
        (tmp_path / name).mkdir()
    command = ["make", "-f", str(ROOT / "Makefile"), "clean"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60, env=kept | {"ARGS": "runs"})
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_first_installation_names_each_package_as_it_comes_to_it(tmp_path: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    log, programs = tmp_path / "log", tmp_path / "venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").write_text(RECORDS.format(log=log), encoding="utf-8")
    (programs / "python").chmod(0o755)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "constraints.txt").touch()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "-f", str(ROOT / "Makefile"), f"VENV={programs.parent}", "setup"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60, env=kept)
    _, installed = log.read_text(encoding="utf-8").splitlines()  # the first asks for pip
    assert installed.startswith("python -m pip install ")
    assert "--quiet" not in installed
