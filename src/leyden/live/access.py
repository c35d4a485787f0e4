"""Server > **access** > live, serve: who is answered, under which names and at which address.

On this machine alone, under its own names; on any other address those who have the token.
"""

import contextlib
import secrets
import signal
import socket
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from fastapi import Request, Response

READING = ["GET", "HEAD"]  # HEAD is how health checks and `curl -I` ask: the server leaves the body away
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def local_names(port: int) -> list[str]:
    """What this machine may be called by in a request to itself."""
    return [f"{name}:{port}" for name in LOOPBACK] + (list(LOOPBACK) if port == 80 else [])  # which browsers leave out


def refusal_of(request: "Request", token: str | None, hosts: Collection[str] | None) -> str | None:
    """Why a request is not answered; None where it is.

    The token comes in the page's address, and from then on in its cookie; programs give it as `Authorization: Bearer`.
    """
    host = request.headers.get("host", "")
    if hosts is not None and host not in hosts:  # another site's name may point here, too
        return f"this page is served at {' and '.join(hosts)} alone: forward another machine's to the same port"
    if token is None:
        return None
    kind, _, bearer = request.headers.get("authorization", "").partition(" ")
    given = bearer if kind.lower() == "bearer" else ""
    if (cookie := request.cookies.get(cookie_of(request))) is not None:
        given = unquote(cookie)
    if request.scope["path"] == "/":
        given = request.query_params.get("token", given)
    if secrets.compare_digest(given.encode(), token.encode()):
        return None
    return "this page needs its token: open the address that was printed when it began, with ?token=… and all"


def cookie_of(request: "Request") -> str:
    """The name of the cookie that holds the token."""
    port = request.headers.get("host", "").rpartition(":")[2]
    return f"leyden_{port if port.isdecimal() else None}"  # a machine's ports share their cookies


def keep_token(request: "Request", response: "Response", token: str) -> None:
    """Gives the browser its token as a cookie, whose letters are few."""
    response.set_cookie(cookie_of(request), quote(token, safe=""), httponly=True, samesite="strict")


def import_fastapi(what: str, extra: str) -> None:
    """Makes sure that a server can be had.

    Raises:
        ValueError: it cannot; names the extra.
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ValueError(f"the {what} needs the extra {extra}: pip install 'leyden[{extra}]'") from error


def is_loopback(host: str) -> bool:
    """Whether an address is one of this machine's that no other reaches, and goes by its names."""
    return host in ("localhost", "127.0.0.1", "::1")


def listen(host: str, port: int, option: str) -> socket.socket:
    """A socket that is bound, so that its errors are ours to tell; `option` is how one is given, `--{} ` or `{}=`.

    Raises:
        ValueError: the address or the port cannot be had.
    """
    if not 0 <= port < 2**16:
        raise ValueError(f"port {port} is none: give one below 65,536 with {option.format('port')}…")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ValueError(
            f"{option.format('host')}{host} is no address of this machine ({error}): leave it out, or name one"
        ) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        raise ValueError(
            f"port {port} of {host} cannot be had ({error.strerror}): give another with {option.format('port')}…"
        ) from error
    return listener


def address_of(host: str, port: int, token: str | None) -> str:
    """What to open, token and all."""
    name = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"?token={quote(token, safe='')}" if token else "")


@contextlib.contextmanager
def ignoring(*signals: signal.Signals) -> Iterator[None]:
    """Uvicorn obeys signals, and when it has ended raises them once more, for whoever comes after it."""
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in signals}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
