"""Which versions and commits a run records: those of Leyden, and those of the project that calls it."""

import contextlib
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import leyden.provenance
from leyden.provenance import code_version, provenance


def test_commit_of_the_users_project_stands_beside_that_of_leyden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert provenance()["project_commit"] is None  # no repository
    git("init", "--quiet")
    assert provenance()["project_commit"] is None  # no commit in it
    (tmp_path / "parts.py").touch()
    (tmp_path / ".gitignore").write_text("runs/\n", encoding="utf-8")
    git("add", ".")
    git("-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "--message=begin")
    clean = provenance()
    assert clean["project_commit"] == git("rev-parse", "HEAD")
    assert clean["project_dirty"] is False
    assert clean["git_commit"] != clean["project_commit"]
    (tmp_path / "notes.txt").touch()  # nothing that trains
    assert provenance()["project_dirty"] is False
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "new.yaml").touch()
    assert provenance()["project_dirty"] is True


def test_in_its_own_repository_leyden_is_no_project_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    assert provenance()["project_commit"] is None


def test_directory_whose_name_is_no_text_has_a_commit(tmp_path: Path) -> None:
    place = tmp_path / os.fsdecode(b"b\xffrd")
    place.mkdir()
    with contextlib.chdir(place):
        git("init", "--quiet")
        git(
            "-c",
            "user.name=A",
            "-c",
            "user.email=a@example.org",
            "commit",
            "--quiet",
            "--allow-empty",
            "--message=begin",
        )
        assert provenance()["project_commit"] == git("rev-parse", "HEAD")


def test_leyden_installed_within_a_project_does_not_pass_off_its_commit(tmp_path: Path) -> None:
    shutil.copytree(Path(leyden.provenance.__file__).parents[1] / "leyden", tmp_path / "site-packages" / "leyden")
    (tmp_path / ".gitignore").write_text("site-packages/\n", encoding="utf-8")
    with contextlib.chdir(tmp_path):
        git("init", "--quiet")
        git("add", ".")
        git("-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "--message=begin")
        commit = git("rev-parse", "HEAD")
    asked = "from leyden.provenance import _commits; import json; print(json.dumps(_commits()))"
    words = [sys.executable, "-c", asked]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site-packages")}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == {
        "git_commit": None, "git_dirty": None, "project_commit": commit, "project_dirty": False,
    }  # fmt: skip


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def test_own_code_that_changes_is_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "parts_of_a_test.py").write_text("WIDTH = 1\n", encoding="utf-8")
    before = code_version()
    importlib.import_module("parts_of_a_test")
    imported = code_version()
    (tmp_path / "parts_of_a_test.py").write_text("WIDTH = 2\n", encoding="utf-8")
    assert len({before, imported, code_version()}) == 3
    assert code_version({"leyden"}) == code_version({"torch", "leyden"}) != code_version({"parts_of_a_test"})
