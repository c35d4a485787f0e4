"""What a real server answers to many at once, and to what is malformed, too large or too slow, over real sockets."""

import asyncio
import concurrent.futures
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import pytest
import torch
from torch import Tensor

from leyden import command_line
from leyden.data.image_file import read_image
from leyden.predict.answers import Answer, Answering
from leyden.serve.application import Service
from leyden.serve.batching import Batcher, Busy
from leyden.serve.bodies import Refused, Upload
from leyden.serve.command import check
from leyden.serve.measures import Measures
from leyden.serve.options import Options
from leyden.trained import Trained, read_for
from serve.serving import digits, metric, png, serving
from small_runs import small_run
from task_sources import MULTI_LABEL, REGRESSION

TIMEOUT = 1.0
LIMITS = {"max_bytes": 100_000, "max_pixels": 10_000, "timeout": TIMEOUT}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("runs") / "a run é")


@pytest.fixture(scope="module")
def network(run: Path) -> Trained:
    return Trained(run)


@pytest.fixture(scope="module")
def address(network: Trained) -> Iterator[str]:
    with serving(network, **LIMITS) as address:
        yield address


def expected(network: Any, image: bytes, top: int | None = 5) -> list[dict[str, Any]]:
    """What the network says of one image by itself, as the server says it."""
    answering = Answering(network, top)
    pixels = read_image(io.BytesIO(image), network.facts.stored_size, network.facts.channels)
    (answer,) = answering(network.logits(pixels[None]))
    return [
        {"class": name, "probability": number}
        for name, number in zip(answer.classes, answer.probabilities, strict=True)
    ]


def same(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> bool:
    """Whether answers are alike, but for what the images beside them change in the last digits."""
    return [one["class"] for one in found] == [one["class"] for one in wanted] and all(
        abs(one["probability"] - other["probability"]) < 3e-6 for one, other in zip(found, wanted, strict=True)
    )


def test_64_clients_at_once_get_their_own_answers_in_batches(network: Trained) -> None:
    images = digits(64)
    with (
        serving(network, max_batch=16, max_wait_ms=20.0) as address,
        httpx.Client(limits=httpx.Limits(max_connections=64), timeout=60) as client,
        concurrent.futures.ThreadPoolExecutor(64) as pool,
    ):

        def ask(number: int) -> httpx.Response:
            return client.post(f"{address}/predict", content=images[number % 64])

        responses = list(pool.map(ask, range(192)))
        assert [response.status_code for response in responses] == [200] * 192
        for number, image in enumerate(images):
            for response in responses[number::64]:
                assert same(response.json()["answers"][0]["classes"], expected(network, image))
        batches = metric(address, "leyden_batch_size_count")
        assert metric(address, "leyden_batch_size_sum") == 192
        assert 12 <= batches < 96
        assert metric(address, 'leyden_requests_total{path="/predict",status="200"}') == 192
        assert metric(address, "leyden_waiting_images") == 0


def test_several_images_of_one_form_are_answered_in_their_order(network: Trained, address: str) -> None:
    images = digits(3)
    names = ["é 1.png", "b.txt", "c"]
    files = [("file", (name, content)) for name, content in zip(names, [images[0], b"none", images[2]], strict=True)]
    found = httpx.post(f"{address}/predict?top=2", files=files).json()["answers"]
    assert [one["name"] for one in found] == names
    assert same(found[0]["classes"], expected(network, images[0], 2))
    assert found[1]["error"] == "the image cannot be read: it is no image of a known format"
    assert same(found[2]["classes"], expected(network, images[2], 2))


def test_other_tasks_are_answered_as_they_are(tmp_path: Path) -> None:
    image = digits(1)[0]
    with serving(Trained(small_run(tmp_path / "numbers", *REGRESSION))) as address:
        (found,) = httpx.post(f"{address}/predict", content=image).json()["answers"]
        assert found["value"] > 19_000
    network = Trained(small_run(tmp_path / "labels", *MULTI_LABEL))
    with serving(network) as address:
        (found,) = httpx.post(f"{address}/predict", content=image).json()["answers"]
        assert same(found["classes"], [*expected(network, image, None)])


BOMB = png(200, 100)  # more pixels than are allowed, in few bytes
FORM = {"content-type": "multipart/form-data; boundary=x"}
BAD: dict[str, tuple[dict[str, Any], int, str]] = {
    "nothing": ({}, 400, "the request brings no image"),
    "no image": ({"content": b"hello"}, 422, "it is no image of a known format"),
    "half an image": ({"content": digits(1)[0][:60]}, 422, "cannot be read"),
    "too many pixels": ({"content": BOMB}, 413, "200 x 100 pixels, it may have 10,000"),
    "too many bytes": ({"content": bytes(100_001)}, 413, "up to 100,000 bytes"),
    "far too many bytes": ({"content": bytes(1_000_000)}, 413, "up to 100,000 bytes"),
    "too many bytes in pieces": ({"content": iter([bytes(70_000)] * 3)}, 413, "up to 100,000 bytes"),
    "a form without files": ({"data": {"a": "b"}, "files": {}}, 422, "cannot be read"),
    "a form of nothing": ({"content": b"", "headers": FORM}, 400, ""),
    "a form that is none": ({"content": b"--y\r\n", "headers": FORM}, 400, "the form cannot be read"),
    "a form without a boundary": (
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "the form cannot be read"
    ),
    "an empty file": ({"files": {"file": ("a.png", b"")}}, 400, "the request brings no image"),
    "too many files": ({"files": [("file", ("a.png", b"x"))] * 65}, 400, "the form cannot be read"),
    "a parameter that is none": ({"content": b"x", "params": {"topp": "2"}}, 400, "there is no parameter 'topp'"),
    "a top that is none": ({"content": b"x", "params": {"top": "0"}}, 400, "top=0: expected a whole number above 0"),
    "another site's page": ({"content": b"x", "headers": {"origin": "https://evil.example"}}, 403, "another site"),
    "another site without a name": ({"content": b"x", "headers": {"origin": "http://["}}, 403, "another site"),
    "a name that is none": ({"content": b"x", "headers": {"host": "["}}, 403, "is served at"),
    "another name": ({"content": b"x", "headers": {"host": "evil.example"}}, 403, "is served at"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_image_gets_a_4xx_and_a_reason(kind: str, address: str) -> None:
    request, status, reason = BAD[kind]
    with httpx.Client(timeout=20) as client:
        if kind == "far too many bytes":  # the answer comes while they are sent, and the client may not see it
            try:
                response = client.post(f"{address}/predict", **request)
            except httpx.TransportError:
                return
        else:
            response = client.post(f"{address}/predict", **request)
    assert response.status_code == status, response.text
    assert reason in response.json()["error"]
    assert httpx.post(f"{address}/predict", content=digits(1)[0]).status_code == 200


@pytest.mark.parametrize(
    "head",
    [
        b"nonsense\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    ],
)
def test_what_is_no_http_gets_400(head: bytes, address: str) -> None:
    with connect(address) as client:
        client.sendall(head)
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")


def connect(address: str) -> socket.socket:
    parts = urlsplit(address)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20)


def test_slow_clients_get_408_while_others_are_answered(network: Trained, address: str) -> None:
    host = urlsplit(address).netloc
    heads = {
        "head": f"POST /predict HTTP/1.1\r\nHost: {host}\r\nX-a: ",
        "body": f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5000\r\n\r\n",
        "chunks": f"POST /predict HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n",
        "nothing": "",
    }
    clients = {f"{kind} {number}": connect(address) for kind in heads for number in range(20)}
    for kind, client in clients.items():
        client.sendall(heads[kind.split()[0]].encode())
    stop = threading.Event()

    def drip() -> None:
        letters = {"head": b"y", "body": b"y", "chunks": b"1\r\ny\r\n", "nothing": b""}
        while not stop.wait(TIMEOUT / 10):
            for kind, client in clients.items():
                try:
                    client.sendall(letters[kind.split()[0]])
                except OSError:
                    continue

    dripping = threading.Thread(target=drip)
    dripping.start()
    image = digits(1)[0]
    wanted = expected(network, image)
    for _ in range(10):
        response = httpx.post(f"{address}/predict", content=image, timeout=20)
        assert same(response.json()["answers"][0]["classes"], wanted)
    for kind, client in clients.items():
        assert client.recv(100).startswith(b"HTTP/1.1 408 "), kind
    stop.set()
    dripping.join()
    for client in clients.values():
        client.close()
    assert metric(address, 'leyden_requests_total{path="/predict",status="408"}') >= 40


def test_a_client_that_leaves_harms_nobody(address: str) -> None:
    host = urlsplit(address).netloc
    for number in range(20):
        with connect(address) as client:
            client.sendall(f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5000\r\n\r\n".encode())
            client.sendall(b"x" * number)
    assert httpx.post(f"{address}/predict", content=digits(1)[0]).status_code == 200


class Failing:
    """A network that fails at each batch of one, and takes its time otherwise."""

    def __init__(self, network: Trained) -> None:
        self.network, self.facts = network, network.facts
        self.is_failing = True

    def logits(self, images: Tensor) -> Tensor:
        if self.is_failing:
            raise RuntimeError("no memory")
        return self.network.logits(images)


def test_a_network_that_fails_once_answers_again(network: Trained, capfd: pytest.CaptureFixture[str]) -> None:
    failing = Failing(network)
    with serving(failing) as address:
        assert httpx.post(f"{address}/predict", content=digits(1)[0]).status_code == 500
        failing.is_failing = False
        assert httpx.post(f"{address}/predict", content=digits(1)[0]).status_code == 200
    assert "no memory" in capfd.readouterr().err


def test_any_network_serves_and_says_what_it_is(network: Trained, address: str) -> None:
    class Export:
        facts = network.facts

        def logits(self, images: Tensor) -> Tensor:
            return torch.zeros(len(images), 10)

    with serving(Export()) as other:
        (found,) = httpx.post(f"{other}/predict", content=digits(1)[0]).json()["answers"]
        assert found["classes"][0]["probability"] == 0.1
        assert httpx.get(f"{other}/health").json()["probabilities"] is None
    health = httpx.get(f"{address}/health").json()
    assert (health["status"], health["classes"]) == ("ok", [*"0123456789"])
    assert "the run has chosen no temperature" in health["probabilities"]


def test_more_classes_than_are_told_are_refused(network: Trained) -> None:
    service = Service(Answering(network, 3), "digits", cast(Batcher, None), Measures(), 10_000)
    with pytest.raises(Refused, match="top=4: at most 3 classes are told") as caught:
        asyncio.run(service.answer([], 4))
    service.pool.shutdown()
    assert caught.value.status == 400


def test_images_of_a_request_that_is_turned_away_count_as_refused(network: Trained) -> None:
    class OneAtATime:
        """Has room for the first image alone."""

        num_asked = 0

        def submit(self, image: Tensor) -> "concurrent.futures.Future[Answer]":
            self.num_asked += 1
            if self.num_asked > 1:
                raise Busy
            future: concurrent.futures.Future[Answer] = concurrent.futures.Future()
            future.set_result(Answer(["7"], [1.0]))
            return future

    measures, batcher = Measures(), cast(Batcher, OneAtATime())
    service = Service(Answering(network), "digits", batcher, measures, 10_000)
    with pytest.raises(Refused) as caught:
        asyncio.run(service.answer([Upload("", content) for content in digits(3)], None))
    service.pool.shutdown()
    assert caught.value.status == 503
    assert b'leyden_images_total{result="refused"} 3.0' in measures.text()[0]
    assert b'result="answered"' not in measures.text()[0]


@pytest.mark.parametrize("path", ["/health", "/metrics", "/", "/static/page.js"])
def test_who_asks_for_the_head_alone_gets_it(path: str, address: str) -> None:
    asked = httpx.head(address + path)
    assert (asked.status_code, asked.content) == (200, b"")
    assert asked.headers["content-type"] == httpx.get(address + path).headers["content-type"]


def test_another_method_or_path_is_refused_in_a_sentence_as_all_else_is(address: str) -> None:
    refused = httpx.get(f"{address}/predict")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert refused.json() == {"error": "/predict is not asked by GET, but by POST"}
    assert httpx.head(f"{address}/predict").status_code == 405
    refused = httpx.get(f"{address}/nothing")
    assert refused.status_code == 404
    assert refused.json() == {"error": "nothing is served at /nothing: ask for one of /, /predict, /health, /metrics"}


def test_a_token_is_asked_for(network: Trained) -> None:
    with serving(network, token="right") as address:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "right"}):
            for path in ("/predict", "/health", "/metrics", "/", "/static/page.js"):
                assert (
                    httpx.request("POST" if path == "/predict" else "GET", address + path, headers=headers).status_code
                    == 403
                )
        assert httpx.get(f"{address}/health", headers={"host": "["}).status_code == 403
        bearer = {"authorization": "Bearer right"}
        assert httpx.post(f"{address}/predict", content=digits(1)[0], headers=bearer).status_code == 200
        with httpx.Client() as client:
            assert client.get(f"{address}/?token=right").status_code == 200
            assert client.get(f"{address}/health").status_code == 200


def test_the_page_reaches_no_other_site(address: str) -> None:
    for path in ("/", "/static/page.js", "/static/page.css", "/static/report.css"):
        response = httpx.get(address + path)
        assert response.status_code == 200
        assert "http://" not in response.text
        assert response.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; ")
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in response.headers
    assert httpx.get(f"{address}/static/command.py").status_code == 404
    assert httpx.get(f"{address}/docs").status_code == 404


@pytest.mark.whole
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_answers_who_has_asked_and_ends_with_0(number: signal.Signals, run: Path) -> None:
    command = [sys.executable, "-m", "leyden", "serve", f"run={run}", "port=0", "max_wait_ms=1500"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    ) as one:
        assert one.stdout is not None
        line = one.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, line
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(httpx.post, f"{found[0]}/predict", content=digits(1)[0], timeout=60)
            while metric(found[0], "leyden_received_bytes_total") == 0:
                time.sleep(0.02)
            one.send_signal(number)
            assert asked.result().status_code == 200
        rest = one.stdout.read()
    assert (one.returncode, rest) == (0, "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["max_batch=0"], "max_batch=0 is out of range: give 1 or more"),
        (["timeout=0"], "timeout=0.0 is out of range: give more than 0 seconds"),
        (["port=70000"], "port 70000 is none: give one below 65,536 with port=…"),
        (["host=no.such.host.invalid"], "host=no.such.host.invalid is no address of this machine"),
    ],
)
def test_a_wrong_word_is_one_sentence(words: list[str], sentence: str, run: Path, capfd: Any) -> None:
    assert command_line.of_a_run("serve", [f"run={run}", "port=0", *words]) == 1
    assert f"error: {sentence}" in capfd.readouterr().err


def test_the_extra_is_named_where_it_is_missing(run: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert command_line.of_a_run("serve", [f"run={run}"]) == 1
    assert "the server needs the extra serve: pip install 'leyden[serve]'" in capfd.readouterr().err
    check(Options(run))


def test_a_file_and_its_bytes_are_read_alike(network: Trained, tmp_path: Path, address: str) -> None:
    (tmp_path / "a.png").write_bytes(digits(1)[0])
    logits = network.logits(read_for(network.facts, tmp_path / "a.png")[None])
    (found,) = httpx.post(f"{address}/predict?top=1", content=digits(1)[0]).json()["answers"]
    assert found["classes"][0]["class"] == network.facts.class_names[int(logits.argmax())]
