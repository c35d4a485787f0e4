"""Options > **serve** > application: a run's network over HTTP, until Ctrl-C."""

import gc
import logging
import secrets
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from leyden.hardware import keep_freed_memory
from leyden.live.access import address_of, ignoring, import_fastapi, is_loopback, listen, local_names
from leyden.predict.answers import Answering
from leyden.serve.application import Service, make_app
from leyden.serve.batching import Batcher
from leyden.serve.bodies import Bodies
from leyden.serve.measures import Measures
from leyden.serve.options import Options
from leyden.trained import Network, Trained, open_network

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

MOST_WAIT_MS = 60_000
ENDING = 10  # seconds that requests under way have to be answered in
MOST_TOLD = 100  # classes of each image, of which a request says how many it wants


def serve(asked: Options, words: list[str]) -> None:
    """Serves until Ctrl-C or SIGTERM; those who have asked before are answered.

    Raises:
        ValueError: an option is out of range, the address cannot be had, an extra is missing, or there is no network.
    """
    check(asked)
    import_extra()
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it tells every letter that is wrong in a form
    with listen(asked.host, asked.port, "{}=") as listener:
        port = listener.getsockname()[1]
        is_local = is_loopback(asked.host)
        token = asked.token or (None if is_local else secrets.token_urlsafe())
        network = open_network(asked.run, asked.checkpoint, asked.device)
        keep_freed_memory()
        app = application(network, name_of(network, asked.run), asked, token, local_names(port) if is_local else None)
        gc.freeze()  # a search for garbage would go through all that was imported, 0.4 s in which nobody is answered
        print(f"{asked.run}: {address_of(asked.host, port, token)} (Ctrl-C ends it)", flush=True)
        with ignoring(signal.SIGINT, signal.SIGTERM):
            server(app, asked.timeout).run(sockets=[listener])


def check(asked: Options) -> None:
    """Refuses values that are out of range."""
    least = {"max_batch": 1, "max_wait_ms": 0, "max_bytes": 1, "max_pixels": 1}
    for name, fewest in least.items():
        if getattr(asked, name) < fewest:
            raise ValueError(f"{name}={getattr(asked, name)} is out of range: give {fewest} or more")
    if not asked.max_wait_ms <= MOST_WAIT_MS:
        raise ValueError(f"max_wait_ms={asked.max_wait_ms} is out of range: give up to {MOST_WAIT_MS:,}")
    if not asked.timeout > 0:
        raise ValueError(f"timeout={asked.timeout} is out of range: give more than 0 seconds")


def import_extra() -> None:
    """Makes sure that what serves is here.

    Raises:
        ValueError: it is not; names the extra.
    """
    import_fastapi("server", "serve")
    try:
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
    except ImportError as error:
        raise ValueError("the server needs the extra serve: pip install 'leyden[serve]'") from error


def name_of(network: Network, source: Path) -> str:
    """What the network is called towards those who ask: no place on this machine."""
    if isinstance(network, Trained):
        return f"{network.config.name} ({network.facts.name})"
    return source.name


def application(
    network: Network, name: str, asked: Options, token: str | None = None, hosts: list[str] | None = None
) -> "FastAPI":
    """The application of a network."""
    of_one_class = network.facts.task == "single_label"
    answering = Answering(network, MOST_TOLD if of_one_class else None)
    measures = Measures()
    batcher = Batcher(
        lambda images: answering(network.logits(images)), asked.max_batch, asked.max_wait_ms, measures.seen
    )
    measures.waiting.set_function(batcher.waiting.qsize)
    service = Service(answering, name, batcher, measures, asked.max_pixels)
    return make_app(service, Bodies(asked.max_bytes, asked.timeout, measures.received_bytes.inc), token, hosts)


def server(app: "FastAPI", timeout: float) -> "uvicorn.Server":
    """What runs the application."""
    import uvicorn

    from leyden.serve.connections import protocol_within

    config = uvicorn.Config(
        app, http=protocol_within(timeout), log_level="error", access_log=False, ws="none", server_header=False,
        timeout_graceful_shutdown=ENDING,
    )  # fmt: skip
    return uvicorn.Server(config)
