"""Command line > **arguments** > lesson: what `leyden lesson` takes, without what measures, so that help is quick."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from leyden.lesson.claims import read_lesson


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads `leyden lesson …`; ends the program where it cannot be read."""
    parser = argparse.ArgumentParser(
        prog="leyden lesson",
        description="Test the claims of an introduction to deep learning: run what is missing, then write lesson.html, "
        "where each stands beside what was measured. Given again, it goes on where it was stopped.",
        epilog=f"claims: {', '.join(claim.id for claim in read_lesson().claims)}",
    )
    parser.add_argument("claims", nargs="*", metavar="claim", help="test these alone (default: all)")
    parser.add_argument("--fast", action="store_true", help="fewer claims and three seeds, in minutes")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are kept (default: runs)")
    return parser.parse_intermixed_args(arguments)
