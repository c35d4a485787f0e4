"""Who is answered, and with what: nobody from another site, nothing outside the runs, no checkpoint."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from leyden.live import serve
from live.pages import append_rows, serving, write_run

SERVE = "import sys; from pathlib import Path; from leyden.live import serve; serve(Path(sys.argv[1]), sys.argv[2], 0)"


class Answer:
    """What a server says to one request, sent as it is: no client tidies the path."""

    def __init__(self, address: str, path: str, method: str = "GET", **headers: str) -> None:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=10)
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        self.status, self.headers, self.content = response.status, response.headers, response.read()
        connection.close()

    @property
    def text(self) -> str:
        return self.content.decode()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    directory = write_run(tmp_path / "runs" / "digits" / "one")
    (directory / "learning_curves.png").write_bytes(b"a picture")
    (directory / "report.html").write_text("<script>1</script>", encoding="utf-8")
    (directory / "checkpoints").mkdir()
    for name in ("best.ckpt", "best.png"):
        (directory / "checkpoints" / name).write_bytes(b"weights")
    (directory / "weights.ckpt").write_bytes(b"weights")
    (directory / "sly.png").symlink_to("weights.ckpt")
    (tmp_path / "secret.png").write_bytes(b"secret")
    (directory / "out.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "elsewhere").mkdir()
    write_run(tmp_path / "elsewhere" / "run")
    (tmp_path / "runs" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "picture.png").write_bytes(b"secret")
    return tmp_path / "runs"


@pytest.fixture
def address(runs: Path) -> Iterator[str]:
    with serving(runs) as address:
        yield address


def test_pictures_and_reports_are_served(address: str) -> None:
    assert Answer(address, "/files/digits/one/learning_curves.png").content == b"a picture"
    report = Answer(address, "/files/digits/one/report.html")
    assert report.text == "<script>1</script>"
    policy = report.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'unsafe-inline'")
    assert "sandbox allow-scripts" in policy
    assert "connect-src" not in policy  # thus none


@pytest.mark.parametrize(
    "path",
    [
        "../secret.png", "%2e%2e/secret.png", "..%2fsecret.png", "digits/../../secret.png", "//etc/passwd",
        "digits/one/out.png", "linked/picture.png", "digits/one/sly.png", "digits/one/weights.ckpt",
        "digits/one/checkpoints/best.ckpt", "digits/one/checkpoints/best.png", "digits/one/run.json",
        "digits/one/config.yaml", "digits/one", "digits/one/.lock", "digits/one/learning_curves.png%00", "",
    ],
)  # fmt: skip
def test_nothing_else_is_served(address: str, path: str) -> None:
    answer = Answer(address, f"/files/{path}")
    assert answer.status == 404
    assert b"secret" not in answer.content
    assert b"weights" not in answer.content


def test_the_directory_of_a_run_is_its_place_on_the_page(address: str) -> None:
    answer = Answer(address, "/files/digits/one/")
    assert (answer.status, answer.headers["Location"]) == (307, "../../../#open=digits%2Fone")
    for path in ("digits/", "linked/run/", "../elsewhere/run/", "digits/one//", "nowhere/", "/"):
        assert Answer(address, f"/files/{path}").status == 404


@pytest.mark.parametrize("path", ["..", "../elsewhere/run", "%2e%2e/elsewhere/run", "linked/run", "digits", "nowhere"])
def test_only_runs_below_the_directory_are_told_of(address: str, path: str) -> None:
    assert Answer(address, f"/api/run/{path}").status == 404
    assert Answer(address, f"/api/metrics?run={path}&have=").status == 404
    assert Answer(address, f"/api/settings?run={path}").status == 404


def test_text_files_that_lead_outside_are_not_read(runs: Path, address: str, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret\nepoch: secret\n", encoding="utf-8")
    for name in ("log.txt", "error.txt", "config.yaml", "metrics.csv"):
        (runs / "digits" / "one" / name).unlink(missing_ok=True)
        (runs / "digits" / "one" / name).symlink_to(tmp_path / "secret.txt")
    answers = [
        Answer(address, path) for path in ("/api/run/digits/one", "/api/metrics?run=digits/one&have=", "/api/runs")
    ]
    assert not any("secret" in answer.text for answer in answers)


def test_runs_are_listed_without_what_is_linked(address: str) -> None:
    listing = json.loads(Answer(address, "/api/runs").content)
    assert [run["path"] for run in listing["runs"]] == ["digits/one"]


def test_an_answer_that_is_known_is_not_sent_again(address: str) -> None:
    first = Answer(address, "/api/runs")
    again = Answer(address, "/api/runs", If_None_Match=first.headers["ETag"])
    assert (again.status, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/", "/static/page.css", "/api/runs", "/files/digits/one/learning_curves.png"])
def test_head_is_answered_as_get_is_without_the_content(address: str, path: str) -> None:
    whole, head = Answer(address, path), Answer(address, path, "HEAD")
    assert (head.status, head.content) == (200, b"")
    assert [head.headers[name] for name in ("ETag", "Content-Length")] == [
        whole.headers[name] for name in ("ETag", "Content-Length")
    ]


def test_rows_follow_those_that_the_page_has(runs: Path, address: str) -> None:
    (first,) = json.loads(Answer(address, "/api/metrics?run=digits/one&have=").content)
    assert (first["begin"], first["rows"]) == (0, 5)
    append_rows(runs / "digits" / "one", range(5, 6))
    (more,) = json.loads(Answer(address, f"/api/metrics?run=digits/one&have={first['version']}:5").content)
    assert (more["begin"], more["columns"]["epoch"]) == (5, [5])
    (other,) = json.loads(Answer(address, "/api/metrics?run=digits/one&have=another:5").content)
    assert other["begin"] == 0
    assert Answer(address, "/api/metrics?run=digits/one").status == 422


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "localhost", "127.0.0.1:1", ""])
def test_another_name_of_this_machine_is_refused(address: str, host: str) -> None:
    for path in ("/", "/api/runs", "/files/digits/one/report.html", "/static/page.js"):
        answer = Answer(address, path, Host=host)
        assert answer.status == 403
        assert "is served at localhost:" in answer.text


def test_its_own_names_are_answered(address: str) -> None:
    port = urlsplit(address).port
    for name in ("localhost", "127.0.0.1", "[::1]"):
        assert Answer(address, "/api/runs", Host=f"{name}:{port}").status == 200


def test_the_page_reaches_no_network_and_no_other_site_reaches_it(address: str) -> None:
    page = Answer(address, "/")
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; ")
    assert "http" not in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", page.text)
    for path in ("/", "/api/runs", "/static/plotly.js", "/files/digits/one/learning_curves.png"):
        answer = Answer(address, path)
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Access-Control-Allow-Origin"] is None


@pytest.mark.parametrize("token", ["right", "a b;%20c", "grün 図"])
def test_a_token_is_asked_for_and_kept_in_a_cookie(runs: Path, token: str) -> None:
    given = quote(token, safe="")
    with serving(runs, token=token) as address:
        for path in ("/", "/api/runs", "/files/digits/one/report.html", "/static/page.js", "/?token=wrong", "/?token="):
            answer = Answer(address, path)
            assert answer.status == 403
            assert "set-cookie" not in answer.headers
        assert Answer(address, f"/api/runs?token={given}").status == 403  # in one address alone
        cookie = Answer(address, f"/?token={given}").headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        name, _, value = cookie.split(";")[0].partition("=")
        assert Answer(address, "/api/runs", Cookie=f"{name}={value}").status == 200
        assert Answer(address, "/", Cookie=f"{name}={value}").status == 200
        assert Answer(address, "/api/runs", Cookie=f"{name}=wröng".encode().decode("latin-1")).status == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_serve_prints_its_address_and_ends_by_ctrl_c(runs: Path, host: str) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SERVE, str(runs), host]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        found = re.search(r"http://[^/]+:(\d+)/(\S*)", line)
        assert found, line
        address = f"http://127.0.0.1:{found[1]}/"
        assert Answer(address, f"/{found[2]}").status == 200
        assert bool(found[2]) == (host == "0.0.0.0")
        assert Answer(address, "/").status == (403 if found[2] else 200)
        server.send_signal(signal.SIGINT)
        rest = server.stdout.read()
    assert (server.returncode, rest) == (0, "")


def test_a_port_that_is_taken_is_one_sentence(runs: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            ValueError, match=rf"port {port} of 127.0.0.1 cannot be had \(.*\): give another with --port"
        ):
            serve(runs, port=port)


def test_a_place_that_cannot_be_served_is_one_sentence(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere is no directory: train first"):
        serve(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="--port"):
        serve(runs, port=70_000)
    with pytest.raises(ValueError, match=r"--host no\.such\.host\.invalid"):
        serve(runs, host="no.such.host.invalid", port=0)


def test_the_extra_is_named_where_it_is_missing(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(ValueError, match=r"the page needs the extra live: pip install 'leyden\[live\]'"):
        serve(runs)
