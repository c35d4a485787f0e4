"""Command line > **options** > predict: the words that `leyden predict` takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from leyden.options import option

ALSO: tuple[str, ...] = ()
ALSO_HELP = """The same line again goes on where it was stopped. A file that cannot be read gets a row with the
reason, and no answer.

  leyden predict run=<dir> input=photos output=answers.csv
  leyden predict run=<dir> input='photos/**/*.jpg' output=answers.parquet
  find photos -name '*.jpg' | leyden predict run=<dir> input=- output=- top=1 | grep tabby"""


@dataclass(frozen=True)
class Options:
    """Say what is on images: the likeliest classes with their probabilities, all labels, or a number, as a table."""

    run: Path = option("a run's directory, a study's (its best run), a checkpoint or an export; wandb:… of one at W&B")
    input: str = option("an image, a folder, a pattern in quotes, a table of paths (.csv, .parquet), or - for stdin")
    output: str | None = option(
        "a file .csv, .parquet or .json; -: CSV on the terminal; null: CSV below the run, of one image on the terminal",
        None,
    )
    top: int | None = option("the likeliest classes of each image, where it has one; null: 3", None)
    path_column: str = option("of a table of paths", "path")
    root: Path | None = option("where relative paths begin; null: beside their table, or here", None)
    checkpoint: str = option("best, last or a file", "best")
    batch_size: int = option("images at once", 64)
    num_workers: int | None = option("processes that decode; null: one per thread of torch; 0: this process", None)
    device: Literal["auto", "cpu", "cuda", "mps"] = option("what computes", "auto")
