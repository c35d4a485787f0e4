"""Command line > **options** > explain: the words that `leyden explain` takes."""

from dataclasses import dataclass
from pathlib import Path

from leyden.options import option

ALSO = ("data",)
ALSO_HELP = """where the run's own data lies now, for the map of features: data.root=…; or other data: data=…"""


@dataclass(frozen=True)
class Options:
    """Show what of an image a network answers by, whether that goes by its weights, and how it sees all."""

    run: Path = option("a run's directory, a study's (its best run), or a checkpoint")
    input: str | None = option("an image, a folder, a pattern or a table; null: the run's own examples", None)
    checkpoint: str = option("best, last, or a file", "best")
    num_images: int = option("how many images are explained, up to 64", 8)
    answer: str | None = option("the class that is asked about; null: each image's own answer", None)
    features: bool = option("draw the map of features, of at most 2,000 test images", True)
    output: Path | None = option("a directory for the results; null: explain in the run's", None)
