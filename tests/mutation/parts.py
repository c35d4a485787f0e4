"""Core > **its parts** > mutants: the files on which exactness and honest numbers depend, and the tests of each."""

from typing import NamedTuple


class Part(NamedTuple):
    """Files to change, and the tests that are to notice it."""

    paths: tuple[str, ...]
    tests: tuple[str, ...]


PARTS = {
    "order": Part(("src/leyden/data/loader.py",), ("tests/data/test_loader.py",)),
    "random": Part(("src/leyden/random.py",), ("tests/test_random.py",)),
    "augmentation": Part(
        tuple(
            f"src/leyden/augment/{name}.py"
            for name in ("augmentation", "colour", "erase", "geometry", "mix", "operation", "policy")
        ),
        ("tests/augment",),
    ),
    "checkpoint": Part(
        ("src/leyden/checkpoint.py", "src/leyden/callbacks/checkpoints.py"),
        ("tests/test_checkpoint.py", "tests/callbacks/test_checkpoints.py", "tests/test_resume_decisions.py"),
    ),
    "identity": Part(("src/leyden/study/plan.py",), ("tests/study/test_plan.py",)),
    "statistics": Part(
        ("src/leyden/intervals.py", "src/leyden/report/statistics.py"),
        ("tests/test_intervals.py", "tests/report/test_statistics.py"),
    ),
}
