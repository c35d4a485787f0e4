"""A stand-in for W&B's server, to see what its client does where the server is away, slow, or refuses."""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0123456789abcdef" * 2 + "01234567"  # forty characters, as a key has


class Wandb(ThreadingHTTPServer):
    """Keeps the lines of history of each run as W&B does: by their numbers, those sent again in place of the first."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.daemon_threads = True
        self.runs: dict[str, dict[str, Any]] = {}
        self.history: dict[str, dict[int, dict[str, Any]]] = {}
        self.exit_codes: dict[str, int] = {}
        self.requests: list[tuple[str, str]] = []
        self.status = 200  # what every request is answered with, if another
        self.delay = 0.0
        self.fails_after: int | None = None  # requests for history that are still answered

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a client may hang up."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def lines(self, run_id: str) -> list[dict[str, Any]]:
        """The history of a run, in order."""
        return [line for _, line in sorted(self.history.get(run_id, {}).items())]


@contextmanager
def wandb_server() -> Iterator[Wandb]:
    server = Wandb()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Wandb
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, content: Any, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer({})

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.path.endswith(("/graphql", "/file_stream")):
            self._answer({})  # what the client measures of itself
            return
        body = json.loads(sent)
        time.sleep(self.server.delay)
        if self.server.status != 200:
            self._answer({"error": "no"}, self.server.status)
        elif "file_stream" in self.path:
            self._take_history(body)
        else:
            self._answer({"data": self._graphql(body)} if "query" in body else {})

    def _take_history(self, body: dict[str, Any]) -> None:
        server, run_id = self.server, self.path.rstrip("/").split("/")[-2]
        server.requests.append(("file_stream", json.dumps(body)[:300]))
        if server.fails_after is not None:
            if server.fails_after == 0:
                return self._answer({"error": "no"}, 503)
            server.fails_after -= 1
        for name, chunk in body.get("files", {}).items():
            if name == "wandb-history.jsonl":
                lines = server.history.setdefault(run_id, {})
                for number, line in enumerate(chunk["content"], chunk["offset"]):
                    lines[number] = json.loads(line)
        if body.get("complete"):
            server.exit_codes[run_id] = body.get("exitcode", 0)
        return self._answer({"exitcode": None, "limits": {}})

    def _graphql(self, body: dict[str, Any]) -> dict[str, Any]:
        query, variables = body["query"], body.get("variables", {})
        name = (re.findall(r"(?:query|mutation)\s+(\w+)", query) or [query[:80]])[0]
        self.server.requests.append((name, json.dumps(variables)[:300]))
        answer = getattr(self, f"_{name.lower()}", None)
        return answer(variables) if answer else {}

    def _upsertbucket(self, variables: dict[str, Any]) -> dict[str, Any]:
        run_id = variables["name"]
        is_new = run_id not in self.server.runs
        self.server.runs.setdefault(run_id, {}).update({k: v for k, v in variables.items() if v is not None})
        bucket = {
            "id": run_id, "name": run_id, "displayName": run_id, "description": None, "sweepName": None,
            "project": {"id": "1", "name": "leyden", "entity": {"id": "1", "name": "someone"}},
            "historyLineCount": len(self.server.history.get(run_id, {})),
        }  # fmt: skip
        return {"upsertBucket": {"bucket": bucket, "inserted": is_new}}

    def _runresumestatus(self, variables: dict[str, Any]) -> dict[str, Any]:
        run_id = variables["name"]
        if run_id not in self.server.runs:
            return {"model": {"id": "1", "name": "leyden", "bucket": None}}
        lines = self.server.lines(run_id)
        bucket = {
            "id": run_id, "name": run_id, "displayName": run_id,
            "summaryMetrics": json.dumps(lines[-1] if lines else {}),
            "logLineCount": 0, "historyLineCount": len(lines), "eventsLineCount": 0,
            "historyTail": json.dumps([json.dumps(line) for line in lines[-1:]]), "eventsTail": "[]", "config": "{}",
            "tags": [], "wandbConfig": json.dumps({"t": 1}),  # by which the client knows a run that has begun
        }  # fmt: skip
        return {"model": {"id": "1", "name": "leyden", "bucket": bucket}}

    def _createrunfiles(self, variables: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": name, "uploadUrl": f"{self.server.address}/storage/{name}"} for name in variables["files"]]
        return {"createRunFiles": {"runID": variables["run"], "uploadHeaders": [], "files": files}}

    def _createartifact(self, variables: dict[str, Any]) -> dict[str, Any]:
        sequence = {"id": "1", "latestArtifact": None}
        return {"createArtifact": {"artifact": {"id": "1", "state": "COMMITTED", "artifactSequence": sequence}}}

    def _artifacttype(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"artifact": None}}

    def _viewer(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {
            "viewer": {"id": "1", "entity": "someone", "username": "someone", "flags": "{}", "teams": {"edges": []}}
        }
