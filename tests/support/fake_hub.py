"""A hub of models on this machine: what huggingface_hub's own client asks for, and no more."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

TOKEN = "hf_test"


class FakeHub:
    """Repositories in memory.

    Attributes:
        url: Of the server.
        repositories: Files of each revision, by name of the repository and then of the revision.
        private: Names of repositories that ask for `TOKEN`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.requests: list[str] = []

    def files(self, name: str, revision: str) -> dict[str, bytes] | None:
        """Files of a revision; None where there is none."""
        revisions = self.repositories.get(name, {})
        commits = {self.commit(name, each): files for each, files in revisions.items()}
        return revisions.get(revision, commits.get(revision))

    def commit(self, name: str, revision: str) -> str:
        """40 digits of a revision."""
        return hashlib.sha1(f"{name}@{revision}".encode()).hexdigest()


def _digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send(self, value: object) -> None:
        self.reply(200, json.dumps(value).encode(), Content_Type="application/json")

    def missing(self, code: str) -> None:
        self.reply(404, X_Error_Code=code, X_Error_Message=code)

    @property
    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.hub.requests.append(f"POST {self.path}")
        if self.token != TOKEN:
            self.reply(401, X_Error_Message="Invalid token")
            return
        parts = unquote(self.path.split("?")[0]).strip("/").split("/")
        if self.path == "/api/validate-yaml":  # of a model card
            self.send({"errors": [], "warnings": []})
            return
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            self.hub.repositories.setdefault(name, {"main": {}})
            if asked.get("private") or asked.get("visibility") == "private":
                self.hub.private.add(name)
            self.send({"url": f"{self.hub.url}/{name}", "name": name, "id": name})
            return
        self._write("/".join(parts[2:4]), parts[4], parts[5], body)

    def _write(self, name: str, action: str, revision: str, body: bytes) -> None:
        if action == "preupload":
            files = [
                {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                for each in json.loads(body)["files"]
            ]
            self.send({"files": files})
        elif action == "commit":
            files = self.hub.repositories[name].setdefault(revision, {})
            for line in body.decode().strip().split("\n"):
                entry: dict[str, Any] = json.loads(line)
                if entry["key"] == "file":
                    value = entry["value"]
                    files[value["path"]] = base64.b64decode(value["content"])
            commit = self.hub.commit(name, revision)
            url = f"{self.hub.url}/{name}/commit/{commit}"
            self.send({"commitUrl": url, "commitOid": commit, "hookOutput": ""})

    def do_GET(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        parts = unquote(self.path.split("?")[0]).strip("/").split("/")
        is_api = parts[0] == "api"
        name = "/".join(parts[2:4] if is_api else parts[:2])
        if name not in self.hub.repositories or (name in self.hub.private and self.token != TOKEN):
            self.missing("RepoNotFound")
            return
        revision = parts[5] if is_api and len(parts) > 5 else "main" if is_api else parts[3]
        files = self.hub.files(name, revision)
        if files is None:
            self.missing("RevisionNotFound")
        elif is_api and parts[4:5] == ["tree"]:
            self.send(
                [
                    {"type": "file", "path": each, "size": len(content), "oid": _digest(content)}
                    for each, content in files.items()
                ]
            )
        elif is_api:
            siblings = [{"rfilename": each} for each in files]
            commit = revision if len(revision) == 40 else self.hub.commit(name, revision)
            self.send({"id": name, "sha": commit, "siblings": siblings, "private": False})
        elif "/".join(parts[4:]) not in files:
            self.missing("EntryNotFound")
        else:
            content = files["/".join(parts[4:])]
            commit = revision if len(revision) == 40 else self.hub.commit(name, revision)
            etag = f'"{_digest(content)}"'
            self.reply(200, content, ETag=etag, X_Repo_Commit=commit)

    do_HEAD = do_GET


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """Serve an empty hub at a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    hub = FakeHub(f"http://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass = type("Handler", (_Handler,), {"hub": hub})
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
