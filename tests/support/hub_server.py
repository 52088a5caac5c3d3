"""A small stand-in of the hub on loopback: lists of files, digests, commits, redirects to a store, ranges, errors.

It also gives files as GitHub does, by repository, commit and path.
"""

import hashlib
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the server offers, how it misbehaves, and what it was asked.

    Attributes
    ----------
    files
        Content by (repository, file name).
    cut
        For each download to come: the bytes after which the connection breaks, or None.
    token
        If given, what requests must bring, else they get 401.
    siblings
        Entries that lists of files have besides the files.
    answer
        If given, the body of lists of files.
    surplus
        Bytes that follow each file, and are counted in its download's length.
    ranges, listed
        The ranges of the downloads, and the paths of the lists of files, that were asked for.
    """

    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    gated: bool = False
    ignores_ranges: bool = False
    plain_etag: bool = False
    lies: dict[tuple[str, str], str] = field(default_factory=dict)
    cut: list[int | None] = field(default_factory=list)
    token: str | None = None
    siblings: list[dict[str, Any]] = field(default_factory=list)
    answer: bytes | None = None
    surplus: bytes = b""
    tags: list[Any] = field(default_factory=lambda: ["gguf", "license:apache-2.0"])
    ranges: list[str | None] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    endpoint: str = ""

    def digest(self, key: tuple[str, str]) -> str:
        return self.lies.get(key) or hashlib.sha256(self.files[key]).hexdigest()

    def blob(self, key: tuple[str, str]) -> str:
        content = self.files[key]
        return self.lies.get(key) or hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def listing(self, repo: str) -> bytes:
        """The hub's answer about a repository: its commit, tags and files."""
        if self.answer is not None:
            return self.answer
        siblings = []
        for key in self.files:
            if key[0] == repo:
                size = len(self.files[key])
                entry = {"rfilename": key[1], "size": size, "blobId": self.blob(key) if is_plain(key[1]) else "0" * 40}
                if not is_plain(key[1]):
                    entry["lfs"] = {"sha256": self.digest(key), "size": size, "pointerSize": 134}
                siblings.append(entry)
        value = {"id": repo, "sha": COMMIT, "tags": self.tags, "siblings": siblings + self.siblings}
        return json.dumps(value).encode()


def is_plain(name: str) -> bool:
    """Return true if a file is not kept by Git LFS."""
    return name.endswith((".json", ".jinja"))


@contextmanager
def serve(hub: Hub):
    """Serve a hub while the block runs; ``hub.endpoint`` is its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self.answer()

        def do_GET(self):
            self.answer()

        def answer(self):
            known = hub.token is None or self.headers.get("Authorization") == f"Bearer {hub.token}"
            if not known and not self.path.startswith("/store/"):
                self.empty(401)
            elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/([^/?]+)\?blobs=true", self.path):
                self.listing(match[1], unquote(match[2]))
            elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path):
                self.resolve((match[1], unquote(match[3])), unquote(match[2]))
            elif match := re.fullmatch(r"/([^/]+/[^/]+)/([0-9a-f]{40})/(.+)", self.path):  # as GitHub has raw files
                key = match[1], unquote(match[3])
                self.download(hub.files[key]) if key in hub.files and match[2] == COMMIT else self.empty(404)
            elif match := re.fullmatch(r"/store/([^/]+/[^/]+)/(.+)", self.path):
                self.download(hub.files[match[1], unquote(match[2])])
            else:
                self.empty(404)

        def listing(self, repo, revision):
            hub.listed.append(self.path)
            if repo not in {repo for repo, _ in hub.files} and hub.answer is None:
                self.empty(404, {"X-Error-Code": "RepoNotFound"})
            elif revision not in ("main", "refs/pr/1", COMMIT):
                self.empty(404, {"X-Error-Code": "RevisionNotFound"})
            else:
                body = hub.listing(repo)
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def resolve(self, key, revision):
            """Answer as the hub does for a large file: its digest and size here, its bytes on another host."""
            if hub.gated:
                self.empty(403, {"X-Error-Code": "GatedRepo"})
            elif key[0] not in {repo for repo, _ in hub.files}:
                self.empty(404, {"X-Error-Code": "RepoNotFound"})
            elif key not in hub.files:
                self.empty(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            elif revision not in ("main", COMMIT):
                self.empty(404, {"X-Error-Code": "RevisionNotFound"})
            elif is_plain(key[1]) and self.command == "GET":
                self.download(hub.files[key])
            elif hub.plain_etag:
                self.empty(200, {"X-Repo-Commit": COMMIT, "ETag": '"abc"'})
            else:
                elsewhere = hub.endpoint.replace("127.0.0.1", "localhost")
                headers = {
                    "X-Repo-Commit": COMMIT,
                    "X-Linked-Etag": f'"{hub.digest(key)}"',
                    "X-Linked-Size": str(len(hub.files[key])),
                    "Location": f"{elsewhere}/store/{key[0]}/{key[1]}",
                }
                self.empty(302, headers)

        def download(self, content):
            hub.ranges.append(self.headers.get("Range"))
            start = 0
            if (wanted := self.headers.get("Range")) and not hub.ignores_ranges:
                start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            body = content[start:] + hub.surplus
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            cut = hub.cut.pop(0) if hub.cut else None
            self.wfile.write(body[:cut])
            if cut is not None:
                self.close_connection = True

        def empty(self, status, headers=None):
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    return Handler
