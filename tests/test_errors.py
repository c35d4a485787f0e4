"""Errors become one sentence that names what was wrong."""

import pytest

from leyden.errors import explain


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("two\n  lines"), "two lines"),
        (RuntimeError("inside a library"), "RuntimeError: inside a library"),
        (KeyError(), "KeyError"),
        (ModuleNotFoundError("No module named 'ray'"), "No module named 'ray': install it with pip"),
        (PermissionError(13, "Permission denied", "runs"), "runs: Permission denied"),
    ],
)
def test_error_becomes_one_sentence(error: Exception, expected: str) -> None:
    line = explain(error)
    assert line.startswith(expected)
    assert "\n" not in line
