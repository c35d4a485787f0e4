"""A stand-in for W&B's server: what its client says to it is kept, and it may be away, slow, or refuse."""

import base64
import gzip
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from wandb_artefacts import Artefacts

KEY = "0123456789abcdef" * 2 + "01234567"  # forty characters, as a key has
PROJECT = {"id": "1", "name": "leyden", "entity": {"id": "1", "name": "me"}}


class Wandb(ThreadingHTTPServer):
    """Keeps the lines of history of each run as W&B does: by their numbers, those sent again in place of the first."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.daemon_threads = True
        self.runs: dict[str, dict[str, Any]] = {}
        self.history: dict[str, dict[int, dict[str, Any]]] = {}
        self.summaries: dict[str, dict[str, Any]] = {}
        self.exit_codes: dict[str, int] = {}
        self.files: dict[str, bytes] = {}  # by their names
        self.artefacts = Artefacts(self.address, self.files)
        self.views: dict[str, dict[str, Any]] = {}
        self.projects = {"leyden"}
        self.num_saved = 0  # views
        self.requests: list[tuple[str, str]] = []
        self.status = 200  # what every request is answered with, if another
        self.delay = 0.0
        self.refuses_history = self.refuses_artefacts = False
        self.num_taken: int | None = None  # lines of history that it still takes, before it is away

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a client may hang up."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def lines(self, run_id: str) -> list[dict[str, Any]]:
        """The history of a run, in order."""
        return [line for _, line in sorted(self.history.get(run_id, {}).items())]

    def state(self, run_id: str) -> str:
        """As W&B tells it."""
        if run_id not in self.exit_codes:
            return "running"
        return "failed" if self.exit_codes[run_id] else "finished"


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
        """Nothing: a test's output is its own."""

    def _answer(self, content: Any, status: int = 200) -> None:
        self._send(json.dumps(content).encode(), "application/json", status)

    def _send(self, body: bytes, kind: str, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> bytes:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return gzip.decompress(sent) if self.headers.get("Content-Encoding") == "gzip" else sent

    def do_PUT(self) -> None:
        self.server.files[self._place()] = self._body()
        self._answer({})

    def do_GET(self) -> None:
        body = self.server.files.get(self._place())
        self._answer({}) if body is None else self._send(body, "application/octet-stream", 200)

    def _place(self) -> str:
        """Which file an address is of."""
        return unquote(self.path.removeprefix("/storage/"))

    def do_POST(self) -> None:
        sent = self._body()
        if not self.path.endswith(("/graphql", "/file_stream")):
            self._answer({})  # what the client measures of itself
            return
        body = json.loads(sent)
        time.sleep(self.server.delay)
        if self.server.status == 401:
            self._answer({"errors": [{"message": "user is not logged in"}]}, 401)
        elif self.server.status != 200:
            self._answer({"error": "no"}, self.server.status)
        elif self.server.num_taken == 0:
            self.close_connection = True  # without a word
        elif "file_stream" in self.path:
            self._take_history(body)
        elif self.server.refuses_artefacts and "mutation CreateArtifact " in body.get("query", ""):
            self._answer({"errors": [{"message": "the storage is full"}]}, 400)
        else:
            self._answer({"data": self._graphql(body)} if "query" in body else {})

    def _take_history(self, body: dict[str, Any]) -> None:
        server, run_id = self.server, self.path.rstrip("/").split("/")[-2]
        server.requests.append(("file_stream", json.dumps(body)[:300]))
        if server.refuses_history:
            self._answer({"error": "no"}, 400)
            return
        for name, chunk in body.get("files", {}).items():
            if name == "wandb-history.jsonl":
                lines = server.history.setdefault(run_id, {})
                for number, line in enumerate(chunk["content"], chunk["offset"]):
                    if server.num_taken is not None:
                        if server.num_taken == 0:
                            self.close_connection = True
                            return
                        server.num_taken -= 1
                    lines[number] = json.loads(line)
                    server.summaries.setdefault(run_id, {}).update(lines[number])
            if name == "wandb-summary.json":
                server.summaries[run_id] = json.loads(chunk["content"][-1])
        if body.get("complete"):
            server.exit_codes[run_id] = body.get("exitcode", 0)
        self._answer({"exitcode": None, "limits": {}})

    def _graphql(self, body: dict[str, Any]) -> dict[str, Any]:
        query, variables = body["query"], body.get("variables") or {}
        name = (re.findall(r"(?:query|mutation)\s+(\w+)", query) or [query[:80]])[0]
        self.server.requests.append((name, json.dumps(variables)[:300]))
        answer = getattr(self, f"_{name.lower()}", None) or getattr(self.server.artefacts, name.lower(), None)
        return answer(variables) if answer else self._of_a_dashboard(query, variables)

    def _of_a_dashboard(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        projects = self.server.projects
        if "upsertView" in query:
            return {"upsertView": {"view": self._keep_view(variables), "inserted": not variables.get("id")}}
        if "view(id" in query:
            known = self.server.views.get(variables.get("id", ""))
            return {"view": known and {"id": known["id"]}}
        if "projects(" in query or "models(" in query:
            nodes = [{"node": _project(name), "cursor": name} for name in projects]
            found = {"edges": nodes, "pageInfo": {"endCursor": None, "hasNextPage": False}}
            return {"models": found, "projects": found}
        if "project(" in query:
            name = variables.get("project")
            return {"project": _project(name) if name in projects else None}
        return self._viewer(variables) if "viewer" in query else {}

    def _keep_view(self, variables: dict[str, Any]) -> dict[str, Any]:
        server = self.server
        server.num_saved += 1
        identity = variables.get("id") or base64.b64encode(f"View:{len(server.views) + 1}".encode()).decode()
        server.views[identity] = {**variables, "id": identity}
        project = {"id": "1", "name": variables["projectName"], "entityName": variables["entityName"]}
        kept = {key: variables[key] for key in ("name", "displayName", "description", "spec")}
        return {**kept, "id": identity, "type": variables["type"], "project": project, "updatedAt": None}

    def _upsertbucket(self, variables: dict[str, Any]) -> dict[str, Any]:
        run_id = variables["name"]
        is_new = run_id not in self.server.runs
        self.server.runs.setdefault(run_id, {}).update({k: v for k, v in variables.items() if v is not None})
        bucket = {
            "id": run_id, "name": run_id, "displayName": run_id, "description": None, "sweepName": None,
            "project": PROJECT, "historyLineCount": len(self.server.history.get(run_id, {})),
        }  # fmt: skip
        return {"upsertBucket": {"bucket": bucket, "inserted": is_new}}

    def _run(self, variables: dict[str, Any]) -> dict[str, Any]:
        run_id = variables["name"]
        if run_id not in self.server.runs:
            return {"project": {"run": None}}
        found = {
            **dict.fromkeys(("sweepName", "commit", "description", "notes", "historyKeys")),
            "user": {"name": "me", "username": "me"},
            "projectId": 1, "id": run_id, "name": run_id, "displayName": run_id, "tags": [], "readOnly": False,
            "group": None, "jobType": None, "createdAt": "2026-11-26T00:00:00", "heartbeatAt": "2026-11-26T00:00:00",
            "state": self.server.state(run_id), "config": "{}", "systemMetrics": "{}",
            "summaryMetrics": json.dumps(self.server.summaries.get(run_id, {})),
            "historyLineCount": len(self.server.lines(run_id)),
        }  # fmt: skip
        return {"project": {"run": found}}

    def _runresumestatus(self, variables: dict[str, Any]) -> dict[str, Any]:
        run_id = variables["name"]
        if run_id not in self.server.runs:
            return {"model": {"id": "1", "name": "leyden", "bucket": None}}
        lines = self.server.lines(run_id)
        bucket = {
            "id": run_id, "name": run_id, "displayName": run_id,
            "summaryMetrics": json.dumps(self.server.summaries.get(run_id, {})),
            "logLineCount": 0, "historyLineCount": len(lines), "eventsLineCount": 0,
            "historyTail": json.dumps([json.dumps(line) for line in lines[-1:]]), "eventsTail": "[]", "config": "{}",
            "tags": [], "wandbConfig": json.dumps({"t": 1}),  # by which the client knows a run that has begun
        }  # fmt: skip
        return {"model": {"id": "1", "name": "leyden", "bucket": bucket}}

    def _createrunfiles(self, variables: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": name, "uploadUrl": f"{self.server.address}/storage/{name}"} for name in variables["files"]]
        return {"createRunFiles": {"runID": variables["run"], "uploadHeaders": [], "files": files}}

    def _viewer(self, variables: dict[str, Any]) -> dict[str, Any]:
        teams: dict[str, Any] = {"edges": []}
        return {
            "viewer": {"id": "VXNlcjox", "entity": "me", "username": "me", "email": "", "flags": "{}", "teams": teams}
        }


def _project(name: Any) -> dict[str, Any]:
    return {"id": "1", "name": name, "entityName": "me", "createdAt": "2026-11-26T00:00:00", "isBenchmark": False,
            "internalId": "1", "user": None}  # fmt: skip
