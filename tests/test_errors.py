"""Errors become one sentence that names what was wrong."""

import pytest
from hydra.errors import HydraException

from leyden.errors import explain


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("two\n  lines"), "two lines"),
        (RuntimeError("inside a library"), "RuntimeError: inside a library"),
        (KeyError(), "KeyError"),
        (ModuleNotFoundError("No module named 'ray'"), "No module named 'ray': install it with pip"),
        (PermissionError(13, "Permission denied", "runs"), "runs: Permission denied"),
        (OSError(28, "No space left on device"), "the disk is full: free some space"),
        (OSError(28, "No space left on device", "runs/x"), "runs/x: the disk is full: free some space"),
    ],
)
def test_error_becomes_one_sentence(error: Exception, expected: str) -> None:
    line = explain(error)
    assert line.startswith(expected)
    assert "\n" not in line


def test_words_are_found_for_an_error_of_the_composition_that_has_none() -> None:
    assert explain(HydraException()) == "HydraException"
