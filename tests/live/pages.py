"""A live page for tests: runs directories that grow, and the server in a thread."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn

from leyden.live.access import local_names
from leyden.live.server import make_app

NAMES = ("epoch", "step", "train/loss", "val/loss", "val/accuracy", "val/recall/cat")
CONFIG = "epochs: 30\nmonitor: val/accuracy\nseed: 0\noptimizer:\n  _target_: torch.optim.SGD\n  lr: {rate}\n"


def write_run(directory: Path, epochs: int = 5, rate: float = 0.1, **facts: Any) -> Path:
    """A run that has trained for some epochs, with what else its run.json says."""
    directory.mkdir(parents=True, exist_ok=True)
    record = {
        "status": "finished", "reason": None, "started": "2026-11-26T12:00:00+00:00", "seconds": 9.5, "attempt": 1,
        "command": "leyden train", "metrics": {"best/epoch": 3, "best/val/accuracy": 0.9, "test/accuracy": 0.875},
    }  # fmt: skip
    (directory / "run.json").write_text(json.dumps(record | facts), encoding="utf-8")
    (directory / "config.yaml").write_text(CONFIG.format(rate=rate), encoding="utf-8")
    (directory / "log.txt").write_text("it began\nit ended\n", encoding="utf-8")
    write_rows(directory, range(epochs))
    return directory


def write_rows(directory: Path, epochs: range, names: tuple[str, ...] = NAMES) -> None:
    """Writes metrics.csv anew, as a resumed run does: another file in its place."""
    beside = directory / ".metrics"
    beside.write_text("\r\n".join([",".join(names), *(_row(epoch, names) for epoch in epochs), ""]), encoding="utf-8")
    beside.replace(directory / "metrics.csv")


def append_rows(directory: Path, epochs: range) -> None:
    """Goes on with metrics.csv, as a run does."""
    with (directory / "metrics.csv").open("a", newline="", encoding="utf-8") as file:
        file.write("".join(f"{_row(epoch, NAMES)}\r\n" for epoch in epochs))


def _row(epoch: int, names: tuple[str, ...]) -> str:
    values = {"epoch": epoch, "step": 18 * epoch + 18, "train/loss": 1 / (1 + epoch), "val/loss": 1.5 / (1 + epoch)}
    return ",".join(str(values.get(name, 0.5 + 0.01 * epoch)) for name in names)


@contextlib.contextmanager
def serving(directory: Path, token: str | None = None) -> Iterator[str]:
    """The address of a server of `directory`, which ends with the context."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        app = make_app(directory, token, local_names(port))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.should_exit = True
            thread.join()
