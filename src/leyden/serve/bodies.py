"""Request > **bodies** > images: what a request brings, read within a time and up to a size, and decoded.

What is too large is read to its end all the same, within limits, and thrown away: a client that is still sending sees
no answer.
"""

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from PIL.Image import DecompressionBombError
from torch import Tensor

from leyden.data.facts import DataFacts
from leyden.data.image_file import read_image
from leyden.errors import why_unreadable
from leyden.image_formats import open_image

if TYPE_CHECKING:
    from starlette.requests import Request

MOST_IMAGES = 64  # of a request
THROWN_AWAY = 8  # times the size allowed
AT_ONCE = 64  # times the size allowed, over all requests that are being read


class Refused(Exception):
    """A request that is not answered, with its HTTP status and the reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Upload(NamedTuple):
    """One image of a request, as it came."""

    name: str
    content: bytes


class Bodies:
    """Reads requests of up to `max_bytes` that arrive within `timeout` seconds; `held` are the bytes of all of them."""

    def __init__(self, max_bytes: int, timeout: float, received: Callable[[int], None]) -> None:
        self.max_bytes, self.timeout, self.received, self.held = max_bytes, timeout, received, 0

    @asynccontextmanager
    async def images_of(self, request: "Request") -> AsyncIterator[list[Upload]]:
        """The images of a request, its whole body or each file of a form; they count as held until the context ends.

        Raises:
            Refused: it is too large or too slow, is no form though it says so, or brings nothing.
        """
        try:
            async with asyncio.timeout(self.timeout):
                body = await self._read(request)
        except TimeoutError as error:
            raise Refused(408, f"the request did not arrive within {self.timeout:g} seconds") from error
        try:
            kind = request.headers.get("content-type", "")
            uploads = await _files(request, body) if kind.startswith("multipart/") else [Upload("", body)]
            if not any(upload.content for upload in uploads):
                raise Refused(400, "the request brings no image: send one as its body, or several as files of a form")
            yield uploads
        finally:
            self.held -= len(body)

    async def _read(self, request: "Request") -> bytes:
        """The whole body; `held` has grown by its length."""
        from starlette.requests import ClientDisconnect

        body = bytearray()
        size = 0
        try:
            self._check_declared(request)
            async for chunk in request.stream():
                size += len(chunk)
                if size <= self.max_bytes:
                    self.held += len(chunk)
                    body += chunk
                elif size > self.max_bytes * THROWN_AWAY:
                    break
                if self.held > self.max_bytes * AT_ONCE:
                    raise Refused(503, "too many large requests at once: try again in a moment")
            if size > self.max_bytes:
                raise self._too_large()
        except BaseException as error:
            self.held -= len(body)
            if isinstance(error, ClientDisconnect):
                raise Refused(400, "the client has left") from error
            raise
        finally:
            self.received(size)
        return bytes(body)

    def _check_declared(self, request: "Request") -> None:
        """Refuses at once what announces too much to be thrown away, or waits for leave to send it."""
        declared = request.headers.get("content-length", "")
        most = self.max_bytes if "expect" in request.headers else self.max_bytes * THROWN_AWAY
        if declared.isdecimal() and int(declared) > most:
            raise self._too_large()

    def _too_large(self) -> Refused:
        return Refused(413, f"a request may have up to {self.max_bytes:,} bytes")


async def _files(request: "Request", body: bytes) -> list[Upload]:
    from starlette.datastructures import UploadFile
    from starlette.formparsers import MultiPartException, MultiPartParser

    async def whole() -> AsyncGenerator[bytes, None]:
        yield body
        yield b""

    parser = MultiPartParser(request.headers, whole(), max_files=MOST_IMAGES, max_fields=MOST_IMAGES)
    parser.spool_max_size = len(body)  # it is in memory already
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refused(400, f"the form cannot be read: {error.message}") from error
    except (KeyError, ValueError, AssertionError) as error:  # of the parser beneath, for headers that are none
        raise Refused(400, "the form cannot be read") from error
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    try:
        return [Upload(file.filename or "", await file.read()) for file in files]
    finally:
        await form.close()


def decode(content: bytes, facts: DataFacts, max_pixels: int) -> Tensor:
    """An image as the network wants it, uint8 [C, stored, stored]; its head is looked at before its pixels.

    Raises:
        Refused: it is none, or one of too many pixels.
    """
    try:
        with open_image(io.BytesIO(content)) as image:
            width, height = image.size
        if width * height > max_pixels:
            raise Refused(413, f"the image has {width} x {height} pixels, it may have {max_pixels:,}")
        return read_image(io.BytesIO(content), facts.stored_size, facts.channels)
    except Refused:
        raise
    except Exception as error:  # Pillow raises whatever a format's reader meets
        if isinstance(error.__cause__, DecompressionBombError):
            raise Refused(413, f"the image announces too many pixels, it may have {max_pixels:,}") from error
        raise Refused(422, f"the image cannot be read: {why_unreadable(error)}") from error
