"""Command line > **options** > evaluate: the words that `leyden evaluate` takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from leyden.options import option

ALSO = ("data", "ood")
ALSO_HELP = """other data, as of `leyden train`: data=image_folder data.root=photos (classes go by their names);
where the run's own data lies now: data.root=…; how many processes decode: data.num_workers=…
data to be told apart from the run's: ood=fashion_mnist, ood=image_folder ood.root=photos"""


@dataclass(frozen=True)
class Options:
    """Tell how good a run's network is: metrics with intervals, calibration, worst errors, slices, corruptions."""

    run: Path = option("a run's directory, a study's (its best run), a checkpoint or an export; wandb:… of one at W&B")
    checkpoint: str = option("best, last, or a file", "best")
    split: Literal["auto", "test", "val", "all"] = option("auto: test, of data without one all", "auto")
    slice: str | None = option(
        "columns of the data's table, with commas: how good it is for each of their values", None
    )
    corruptions: str = option("true, or some with commas: noise, blur, weather, digital, or one by its name", "false")
    severities: str = option("of corruptions, from 1 to 5, with commas", "1,2,3,4,5")
    output: Path | None = option("a directory for the results; null: evaluate/<what> in the run's", None)
    pictures: bool = option("draw them", True)
