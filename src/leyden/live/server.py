"""Runs, details > **server** > browser: the page and its data over HTTP, to those whom they are meant for.

On this machine alone, under its own names; on any other address to those who have the token. It only reads.
"""

import functools
import hashlib
import json
import secrets
import signal
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from leyden.live.access import (
    READING,
    address_of,
    ignoring,
    import_fastapi,
    is_loopback,
    keep_token,
    listen,
    local_names,
    refusal_of,
)
from leyden.live.details import details
from leyden.live.files import to_show
from leyden.live.runs import Runs

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response

HERE = Path(__file__).parent
REPORT = HERE.parent / "report"
STATIC = {name: HERE / name for name in ("page.css", "page.js", "table.js", "curves.js", "details.js")}
STATIC |= {"charts.js": REPORT / "charts.js", "report.css": REPORT / "page.css"}
TYPES = {".css": "text/css", ".js": "text/javascript", ".html": "text/html", ".png": "image/png"}
MOST_RUNS = 200  # whose curves are asked for at once
# Plotly writes styles of its own; everything else comes from this server, and nothing goes elsewhere.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A report has its scripts inside it. It reaches no network, and in its sandbox this server as little.
REPORT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts"
)
HEADERS = {
    "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-cache",
}  # fmt: skip


def serve(runs_directory: Path, host: str = "127.0.0.1", port: int = 8000, token: str | None = None) -> None:
    """Serves the page until Ctrl-C; on another address than this machine's own only to those who have `token`.

    Raises:
        ValueError: there is no such directory, the address or the port cannot be had, or an extra is missing.
    """
    import_fastapi("page", "live")
    import uvicorn

    is_local = is_loopback(host)
    token = token or (None if is_local else secrets.token_urlsafe())
    if not runs_directory.is_dir():
        raise ValueError(
            f"{runs_directory} is no directory: train first (make train), or name the one your runs are in"
        )
    listener = listen(host, port, "--{} ")
    port = listener.getsockname()[1]
    app = make_app(runs_directory, token, local_names(port) if is_local else None)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", ws="none", server_header=False)
    print(f"{runs_directory}, live: {address_of(host, port, token)} (Ctrl-C ends it)", flush=True)
    with listener, ignoring(signal.SIGINT):
        uvicorn.Server(config).run(sockets=[listener])


def make_app(runs_directory: Path, token: str | None = None, hosts: Collection[str] | None = None) -> "FastAPI":
    """The application; `hosts` are the names that it may be called by, None for any."""
    from fastapi import FastAPI, HTTPException, Request, Response

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def guard(request: Request, call_next: Any) -> Response:
        refusal = refusal_of(request, token, hosts)
        response: Response = (
            await call_next(request) if refusal is None else Response(refusal, 403, media_type="text/plain")
        )
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.api_route("/", methods=READING)
    def page(request: Request) -> Response:
        response = _answer(request, _source(HERE / "page.html"), "text/html")
        if token is not None:
            keep_token(request, response, token)
        return response

    @app.api_route("/static/{name}", methods=READING)
    def static(request: Request, name: str) -> Response:
        if name == "plotly.js":
            return _answer(request, _plotly(), TYPES[".js"])
        if name not in STATIC:
            raise HTTPException(404)
        return _answer(request, _source(STATIC[name]), TYPES[Path(name).suffix])

    _add_questions(app, Runs(runs_directory))
    return app


def _add_questions(app: "FastAPI", runs: Runs) -> None:
    """What the page asks: of all runs, of some and of one, one question at a time."""
    from fastapi import HTTPException, Query, Request, Response
    from fastapi.responses import RedirectResponse

    lock = threading.Lock()

    def asked(question: Callable[..., Any], *arguments: Any) -> Any:
        try:
            with lock:
                return question(*arguments)
        except (LookupError, OSError) as error:
            raise HTTPException(404, "there is no such run or file") from error

    @app.api_route("/api/runs", methods=READING)
    def listing(request: Request) -> Response:
        return _answer_json(request, asked(runs.listing))

    @app.api_route("/api/metrics", methods=READING)
    def metrics(
        request: Request,
        run: Annotated[list[str], Query(max_length=MOST_RUNS)],
        have: Annotated[list[str], Query(max_length=MOST_RUNS)],
        classes: bool = False,
        layers: bool = False,
    ) -> Response:
        if len(run) != len(have):
            raise HTTPException(400, "each run is to say what the page has of it")
        places = zip(run, have, strict=True)
        found = [asked(runs.rows, path, version, classes, layers) for path, version in places]
        return _answer_json(request, found)

    @app.api_route("/api/settings", methods=READING)
    def settings(request: Request, run: Annotated[list[str], Query(max_length=MOST_RUNS)]) -> Response:
        return _answer_json(request, asked(runs.settings, run))

    @app.api_route("/api/run/{path:path}", methods=READING)
    def one_run(request: Request, path: str) -> Response:
        return _answer_json(request, asked(lambda: details(runs.root, runs.directory(path))))

    @app.api_route("/files/{path:path}", methods=READING)
    def file(request: Request, path: str) -> Response:
        if path.endswith("/"):  # as a report links to its runs
            run = path.removesuffix("/")
            asked(runs.directory, run)
            return RedirectResponse(f"{'../' * path.count('/')}../#open={quote(run, safe='')}")
        place = asked(to_show, runs.root, path)
        response = _answer(request, asked(place.read_bytes), TYPES[place.suffix])
        if place.suffix == ".html":
            response.headers["Content-Security-Policy"] = REPORT_POLICY
        return response


def _answer_json(request: "Request", found: Any) -> "Response":
    return _answer(request, json.dumps(found, allow_nan=False, separators=(",", ":")).encode(), "application/json")


def _answer(request: "Request", content: bytes, media_type: str) -> "Response":
    """The content, or that it is what the browser has."""
    from fastapi import Response

    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    return Response(content, headers={"ETag": tag}, media_type=media_type)


@functools.cache
def _source(path: Path) -> bytes:
    return path.read_bytes()


@functools.cache
def _plotly() -> bytes:
    from leyden.pages import plotly

    return plotly().encode()
