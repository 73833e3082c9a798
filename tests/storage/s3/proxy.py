"""A proxy before the S3 server that does to requests what networks and servers do to them."""

from __future__ import annotations

import http.client
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SLOW_SECONDS = 1.0
_ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
_ANSWERS = {
    "503 SlowDown": (503, "SlowDown", "Please reduce your request rate."),
    "500": (500, "InternalError", "We encountered an internal error."),
    "507 full": (507, "XMinioStorageFull", "Storage backend has reached its minimum free drive threshold."),
    "403 denied": (403, "AccessDenied", "Access Denied."),
}
FAULTS = (
    "503 SlowDown",
    "500",
    "reset before",
    "reset in body",
    "reset in answer",
    "answer lost",
    "answer cut short",
    "answer altered",
    "body altered",
    "slow",
    "507 full",
    "403 denied",
)


@dataclass
class Fault:
    """One of FAULTS, done to the next requests that fit.

    Args:
        kind: which.
        times: to how many.
        method: of the requests.
        path: what their path and query must contain, as a regular expression.
        after: how many that fit are let through first.
    """

    kind: str
    times: int = 1
    method: str = ""
    path: str = ""
    after: int = 0

    def strikes(self, method: str, path: str) -> bool:
        if self.times <= 0 or (self.method and method != self.method) or not re.search(self.path, path):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.times -= 1
        return True


class Proxy(ThreadingHTTPServer):
    """Use it as a context. `plan` holds the faults to come, `requests` what came: (method, path)."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.plan: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.is_down = False
        self.lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    @contextmanager
    def outage(self) -> Iterator[None]:
        """No request is answered meanwhile."""
        self.is_down = True
        try:
            yield
        finally:
            self.is_down = False

    def next_fault(self, method: str, path: str) -> str | None:
        with self.lock:
            self.requests.append((method, path))
            if self.is_down:
                return "reset before"
            return next((fault.kind for fault in self.plan if fault.strikes(method, path)), None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave are no news here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy
    wbufsize = -1

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _do(self) -> None:
        fault = self.server.next_fault(self.command, self.path)
        length = int(self.headers.get("content-length") or 0)
        if fault == "reset before":
            return self._reset()
        if fault == "reset in body":
            self.rfile.read(length // 2)
            return self._reset()
        body = self.rfile.read(length)
        if fault == "slow":
            time.sleep(SLOW_SECONDS)
        if fault in _ANSWERS:
            status, code, message = _ANSWERS[fault]
            content = b"" if self.command == "HEAD" else _ERROR.format(code=code, message=message).encode()
            return self._answer(status, [("Content-Type", "application/xml")], content, len(content))
        if fault == "body altered" and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            upstream.putheader(name, value)
        upstream.endheaders(body or None)
        answer = upstream.getresponse()
        content = answer.read()
        declared = int(answer.headers.get("content-length") or len(content))
        upstream.close()
        if fault == "answer lost":
            return self._reset()
        if fault == "answer altered" and content:
            content = content[:-1] + bytes([content[-1] ^ 1])
        kept = [
            (n, v)
            for n, v in answer.headers.items()
            if n.lower() not in ("content-length", "transfer-encoding", "connection")
        ]
        if fault in ("answer cut short", "reset in answer"):
            self._answer(answer.status, kept, content[: len(content) // 2], declared)
            self.wfile.flush()
            self.close_connection = True
            return self._reset() if fault == "reset in answer" else None
        return self._answer(answer.status, kept, content, declared)

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, length: int) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _reset(self) -> None:
        """Close with a RST, as a machine that lost power does."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _do  # noqa: N815  # http.server's names
