"""Command line > **options** > serve: the words that `leyden serve` takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from leyden.options import option

ALSO: tuple[str, ...] = ()
ALSO_HELP = """  leyden serve run=<dir>                                        # then open the address that it prints
  curl --data-binary @photo.jpg http://127.0.0.1:8001/predict
  curl -F file=@one.jpg -F file=@other.jpg 'http://127.0.0.1:8001/predict?top=1'

/health tells whether it answers, /metrics how much, for Prometheus. On another address than this machine's own only
those are answered who have the token: in the page's address, or as `Authorization: Bearer <token>`."""


@dataclass(frozen=True)
class Options:
    """Answer over HTTP what is on images, with a page to drop them on; Ctrl-C ends it when all have their answers."""

    run: Path = option("a run's directory, a study's (its best run), a checkpoint or an export; wandb:… of one at W&B")
    host: str = option("the address to serve at; 0.0.0.0: all of this machine's", "127.0.0.1")
    port: int = option("0: any that is free", 8001)
    token: str | None = option("who has it is answered; null: nobody needs one here, elsewhere one is drawn", None)
    checkpoint: str = option("best, last or a file", "best")
    max_batch: int = option("images that the network looks at together", 32)
    max_wait_ms: float = option("how long an image waits for others", 5.0)
    max_bytes: int = option("of a request", 16 * 2**20)
    max_pixels: int = option("of an image", 50_000_000)
    timeout: float = option("seconds within which a request has to arrive", 30.0)
    device: Literal["auto", "cpu", "cuda", "mps"] = option("what computes", "auto")
