"""Command line > **options** > card: the words that `leyden card` takes."""

from dataclasses import dataclass
from pathlib import Path

from leyden.options import option

ALSO: tuple[str, ...] = ()
ALSO_HELP = """Who trained the network, and the licences of its weights and of its data, are not known to a run: the
card says where to fill them in."""


@dataclass(frozen=True)
class Options:
    """Write a model card (README.md) and a text to cite a run by (CITATION), from what the run has recorded."""

    run: Path = option("a run's directory, a study's (its best run), a checkpoint or an export; wandb:… of one at W&B")
    output: Path | None = option("the directory to write them into; null: <run>/card", None)
    checkpoint: str = option("best, last or a file", "best")
