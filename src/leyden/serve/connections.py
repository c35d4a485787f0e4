"""Server > **connections** > application: uvicorn's HTTP, to which a head that does not arrive is no request.

Uvicorn waits for ever for the rest of a request's head, so that a client which sends a letter a minute holds its
connection (slowloris). The body's time is the application's to watch.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


def protocol_within(timeout: float) -> type[H11Protocol]:
    """The protocol, with so many seconds for a head from the connection or its first byte on."""

    class Timed(H11Protocol):
        head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch_head()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch_head()

        def connection_lost(self, error: Exception | None) -> None:
            super().connection_lost(error)
            self._forget_head()

        def _watch_head(self) -> None:
            """Lets the time run while no request is being answered, and not anew with each byte."""
            is_answering = self.cycle is not None and not self.cycle.response_complete
            if is_answering:
                self._forget_head()
            elif self.head_timer is None:
                self.head_timer = self.loop.call_later(timeout, self._give_up)

        def _forget_head(self) -> None:
            if self.head_timer is not None:
                self.head_timer.cancel()
                self.head_timer = None

        def _give_up(self) -> None:
            if not self.transport.is_closing():
                self.transport.write(TOO_SLOW)
                self.transport.close()

    return Timed
