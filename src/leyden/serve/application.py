"""Command > **application** > bodies, batching: what is answered at which path, and to whom."""

import asyncio
import functools
import json
import re
import threading
import time
from collections.abc import AsyncIterator, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from leyden.live.access import READING, keep_token, refusal_of
from leyden.predict.answers import Answer, Answering, calibration_of
from leyden.serve.batching import Batcher, Busy
from leyden.serve.bodies import Bodies, Refused, Upload, decode
from leyden.serve.measures import Measures

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response

HERE = Path(__file__).parent
REPORT_CSS = HERE.parent / "report" / "page.css"
STATIC = {
    "report.css": (REPORT_CSS, "text/css"),
    "page.css": (HERE / "page.css", "text/css"),
    "page.js": (HERE / "page.js", "text/javascript"),
}
SHOWN = 5  # classes of an image, unless a request asks for more or fewer
PATHS = ("/", "/predict", "/health", "/metrics")  # by which requests are counted; others are one
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin", "cache-control": "no-store",
}  # fmt: skip
CLOSED = {"connection": "close"}  # of a request whose body was not read to its end


class Service:
    """A network that answers requests: what one server's paths share."""

    def __init__(self, answering: Answering, name: str, batcher: Batcher, measures: Measures, max_pixels: int) -> None:
        self.answering, self.name, self.batcher, self.measures = answering, name, batcher, measures
        self.facts, self.max_pixels = answering.facts, max_pixels
        self.pool = decoding_threads(torch.get_num_threads())

    async def answer(self, uploads: Sequence[Upload], top: int | None) -> list[dict[str, Any]]:
        """What is said of each image, or why nothing is.

        Raises:
            Refused: nothing can be said of any, or too many wait.
        """
        if self.facts.task == "single_label":
            if top is None:
                top = SHOWN
            elif self.answering.top < min(top, self.facts.num_classes):
                raise Refused(400, f"top={top}: at most {self.answering.top} classes are told")
        found = await asyncio.gather(*(self._one(upload) for upload in uploads))
        refusals = [one for one in found if isinstance(one, Refused)]
        if refusals and (len(refusals) == len(found) or any(one.status == 503 for one in refusals)):
            self.measures.images.labels("refused").inc(len(found))  # nobody gets what was found of the others
            raise max(refusals, key=lambda one: one.status == 503)
        self.measures.images.labels("refused").inc(len(refusals))
        self.measures.images.labels("answered").inc(len(found) - len(refusals))
        return [
            {"name": upload.name} | ({"error": one.reason} if isinstance(one, Refused) else as_json(one, top))
            for upload, one in zip(uploads, found, strict=True)
        ]

    async def _one(self, upload: Upload) -> Answer | Refused:
        loop = asyncio.get_running_loop()
        read = functools.partial(decode, upload.content, self.facts, self.max_pixels)
        try:
            image = await loop.run_in_executor(self.pool, read)
            return await asyncio.wrap_future(self.batcher.submit(image))
        except Refused as refused:
            return refused
        except Busy:
            return Refused(503, "too many images wait: try again in a moment")

    def health(self) -> dict[str, Any]:
        """Whether it answers, and what it is."""
        return {
            "status": "ok" if self.batcher.is_alive else "the network's thread has ended",
            "network": self.name,
            "task": self.facts.task,
            "classes": list(self.facts.class_names),
            "probabilities": calibration_of(self.answering.network) or None,
        }


def decoding_threads(number: int) -> ThreadPoolExecutor:
    """Threads that decode, of which each computes alone; they have begun, before the network's says what it has."""
    begun = threading.Barrier(number)
    pool = ThreadPoolExecutor(number, "decode", functools.partial(torch.set_num_threads, 1))
    for future in [pool.submit(begun.wait) for _ in range(number)]:
        future.result()
    return pool


def as_json(answer: Answer, top: int | None) -> dict[str, Any]:
    """An answer as the server's clients get it."""
    if answer.value is not None:
        return {"value": answer.value}
    pairs = list(zip(answer.classes, answer.probabilities, strict=True))[:top]
    return {"classes": [{"class": name, "probability": probability} for name, probability in pairs]}


def make_app(
    service: Service, bodies: Bodies, token: str | None = None, hosts: Collection[str] | None = None
) -> "FastAPI":
    """The application; `hosts` are the names that it may be called by, None for any."""
    from fastapi import FastAPI, Request, Response
    from starlette.exceptions import HTTPException

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with service.batcher:
            yield
        service.pool.shutdown()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(Guard, token=token, hosts=hosts, measures=service.measures)
    app.add_exception_handler(HTTPException, _not_served)

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        try:
            top = _top(request)
            async with bodies.images_of(request) as uploads:
                answers = await service.answer(uploads, top)
        except Refused as refused:
            headers = CLOSED if refused.status in (408, 413, 503) else {}
            return _json({"error": refused.reason}, refused.status, headers)
        return _json({"answers": answers})

    @app.api_route("/health", methods=READING)
    async def health() -> Response:
        return _json(service.health(), 200 if service.batcher.is_alive else 503)

    @app.api_route("/metrics", methods=READING)
    async def metrics() -> Response:
        content, kind = service.measures.text()
        return Response(content, headers={"content-type": kind})

    @app.api_route("/", methods=READING)
    async def page(request: Request) -> Response:
        response = Response((HERE / "page.html").read_bytes(), media_type="text/html")
        if token is not None:
            keep_token(request, response, token)
        return response

    @app.api_route("/static/{name}", methods=READING)
    async def static(name: str) -> Response:
        if name not in STATIC:
            raise HTTPException(404)
        path, kind = STATIC[name]
        return Response(path.read_bytes(), media_type=kind)

    return app


class Guard:
    """Around the application: who is not meant is not answered, every answer has its headers and is counted."""

    def __init__(self, app: Any, token: str | None, hosts: Collection[str] | None, measures: Measures) -> None:
        self.app, self.token, self.hosts, self.measures = app, token, hosts, measures

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.requests import Request

        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request, begin = Request(scope), time.perf_counter()
        path = scope["path"] if scope["path"] in PATHS else "other"

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                more = [
                    (name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in given
                ]
                message = message | {"headers": [*message["headers"], *more]}
                self.measures.requests.labels(path, str(message["status"])).inc()
                self.measures.request_seconds.observe(time.perf_counter() - begin)
            await send(message)

        refusal = refusal_of(request, self.token, self.hosts) or _of_another_site(request)
        if refusal is None:
            await self.app(scope, receive, sending)
        else:
            await _json({"error": refusal}, 403, CLOSED)(scope, receive, sending)


async def _not_served(request: "Request", error: Any) -> "Response":
    """What is asked elsewhere than where something is served, or by another method, is told so as all else is."""
    path, headers = request.url.path, error.headers or {}
    reason = f"nothing is served at {path}: ask for one of {', '.join(PATHS)}"
    if "Allow" in headers:
        reason = f"{path} is not asked by {request.method}, but by {headers['Allow']}"
    return _json({"error": reason}, error.status_code, headers)


def _of_another_site(request: "Request") -> str | None:
    """Browsers say which page asks; of another site's none is answered, though it could not read it."""
    origin = request.headers.get("origin")
    if origin is None or origin.partition("://")[2] == request.headers.get("host"):
        return None
    return "a page of another site asks: this server answers its own page, and programs"


def _top(request: "Request") -> int | None:
    if unknown := request.query_params.keys() - {"top", "token"}:
        raise Refused(400, f"there is no parameter '{min(unknown)[:20]}': expected top, as in /predict?top=3")
    given = request.query_params.get("top")
    if given is None:
        return None
    if not re.fullmatch("0{,9}[1-9][0-9]{,8}", given):
        raise Refused(400, f"top={given[:20]}: expected a whole number above 0")
    return int(given)


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> "Response":
    from fastapi import Response

    text = json.dumps(content, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace")
    return Response(text, status, headers, "application/json")
