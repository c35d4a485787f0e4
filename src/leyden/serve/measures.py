"""Application > **measures** > /metrics: what was asked and how long it took, in Prometheus' text format."""

from typing import Any

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Measures:
    """Counters of one server; `text` is what Prometheus reads."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = CollectorRegistry()
        of: dict[str, Any] = {"registry": self.registry, "namespace": "leyden"}
        self.requests = Counter("requests", "Requests, by path and HTTP status", ["path", "status"], **of)
        self.request_seconds = Histogram(
            "request_seconds", "From a request's head to its answer", buckets=SECONDS, **of
        )
        self.images = Counter("images", "Images that were asked about, by what came of them", ["result"], **of)
        self.received_bytes = Counter("received_bytes", "Bytes of requests", **of)
        self.batch_size = Histogram("batch_size", "Images that the network looked at together", buckets=SIZES, **of)
        self.batch_seconds = Histogram("batch_seconds", "Seconds of a batch in the network", buckets=SECONDS, **of)
        self.waiting = Gauge("waiting_images", "Images that wait for the network", **of)

    def seen(self, size: int, seconds: float) -> None:
        """Notes a batch."""
        self.batch_size.observe(size)
        self.batch_seconds.observe(seconds)

    def text(self) -> tuple[bytes, str]:
        """The figures and their media type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self.registry), CONTENT_TYPE_LATEST
