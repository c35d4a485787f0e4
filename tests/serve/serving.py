"""A server for tests: a small run's network behind a real uvicorn, in a thread."""

import contextlib
import io
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from leyden.data import Digits
from leyden.live.access import local_names
from leyden.serve.command import application, server
from leyden.serve.options import Options
from leyden.trained import Network


@contextlib.contextmanager
def serving(network: Network, token: str | None = None, name: str = "digits", **options: Any) -> Iterator[str]:
    """The address of a server of a network, which ends with the context."""
    asked = Options(**({"run": Path("run"), "timeout": 5.0} | options))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        one = server(application(network, name, asked, token, local_names(port)), asked.timeout)
        thread = threading.Thread(target=one.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not one.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{port}"
        finally:
            one.should_exit = True
            thread.join()


def digits(count: int) -> list[bytes]:
    """PNG files of the first digits."""
    found = []
    for pixels in Digits().load(Path())[0][:count, 0]:
        file = io.BytesIO()
        Image.fromarray(pixels.numpy()).resize((24, 24)).save(file, "PNG")
        found.append(file.getvalue())
    return found


def png(width: int, height: int) -> bytes:
    """A PNG file of so many pixels, which is small whatever their number."""
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, "PNG")
    return file.getvalue()


def metric(address: str, name: str) -> float:
    """A figure of /metrics."""
    lines = httpx.get(f"{address}/metrics").text.splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.rsplit(" ", 1)[0] == name), 0.0)
