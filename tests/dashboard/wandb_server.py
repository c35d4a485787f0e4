"""A stand-in for W&B's servers: answers what the client asks of views and projects, and keeps what it was sent."""

import base64
import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

VIEWER = {"id": "VXNlcjox", "entity": "me", "username": "me", "email": "", "flags": "{}", "teams": {"edges": []}}


class WandbServer:
    """Views by id; `projects` are those that exist, `takes_keys` says whether any key is good."""

    def __init__(self) -> None:
        self.views: dict[str, dict[str, Any]] = {}
        self.projects = {"leyden"}
        self.takes_keys = True
        self.num_saved = 0

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The data of an answer to one question."""
        if "upsertView" in query:
            return {"upsertView": {"view": self._keep(variables), "inserted": not variables.get("id")}}
        if "view(id" in query:
            known = self.views.get(variables.get("id", ""))
            return {"view": known and {"id": known["id"]}}
        if "projects(" in query or "models(" in query:
            nodes = [{"node": self._project(name), "cursor": name} for name in self.projects]
            found = {"edges": nodes, "pageInfo": {"endCursor": None, "hasNextPage": False}}
            return {"models": found, "projects": found}
        if "project(" in query:
            name = variables.get("project")
            return {"project": self._project(name) if name in self.projects else None}
        return {"viewer": VIEWER}

    def _keep(self, variables: dict[str, Any]) -> dict[str, Any]:
        self.num_saved += 1
        number = len(self.views) + 1
        identity = variables.get("id") or base64.b64encode(f"View:{number}".encode()).decode()
        self.views[identity] = {**variables, "id": identity}
        project = {"id": "1", "name": variables["projectName"], "entityName": variables["entityName"]}
        kept = {key: variables[key] for key in ("name", "displayName", "description", "spec")}
        return {**kept, "id": identity, "type": variables["type"], "project": project, "updatedAt": None}

    @staticmethod
    def _project(name: Any) -> dict[str, Any]:
        return {"id": "1", "name": name, "entityName": "me", "createdAt": "2026-11-26T00:00:00", "isBenchmark": False,
                "internalId": "1", "user": None}  # fmt: skip


@contextmanager
def served(server: WandbServer) -> Iterator[str]:
    """The address at which it answers, in a thread of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            try:
                asked = json.loads(body)
            except ValueError:  # what the client counts for its makers
                asked = {}
            if server.takes_keys:
                found: Any = {"data": server.answer(asked.get("query", ""), asked.get("variables") or {})}
            else:
                found = {"errors": [{"message": "user is not logged in"}]}
            text = json.dumps(found).encode()
            self.send_response(200 if server.takes_keys else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Nothing: a test's output is its own."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_address[1]}"
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
