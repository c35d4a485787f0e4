"""The planted set, made once for all tests of the doctor."""

import pytest

from doctor.planted import Planted, plant
from leyden.doctor.facts import Facts, of_files


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="session")
def paths(planted: Planted) -> list[str]:
    """All files below the planted directory, in the order of an image folder."""
    found = [path.relative_to(planted.directory).as_posix() for path in planted.directory.rglob("*") if path.is_file()]
    return sorted(found, key=lambda path: (path.startswith("test"), path))


@pytest.fixture(scope="session")
def facts(planted: Planted, paths: list[str]) -> Facts:
    return of_files(planted.directory, paths, num_processes=2, with_turns=True)
