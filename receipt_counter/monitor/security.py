"""Who may ask, and what browsers are told: ASGI middleware around the application."""

from __future__ import annotations

import hmac
import ipaddress
import urllib.parse
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "receipt_counter_monitor"
TOKEN_VARIABLE = "RECEIPT_COUNTER_MONITOR_TOKEN"
_COOKIE_SECONDS = 30 * 24 * 3600
_OPEN_PATHS = ("/healthz",)  # probes carry no token
# Plotly sets styles of single elements, which a policy can only allow as a whole; scripts come from files alone.
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
    b" img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self';"
    b" frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        hosts: names that the Host header may have, without port; empty: any. Keeps other pages' names, which may be
            made to lead to this machine (DNS rebinding), from reading what is bound to loopback.
        token: that every request must know; None: none is needed.
        prefix: path under which all of it lies, such as "/monitor"; empty: none.
    """

    hosts: frozenset[str] = frozenset()
    token: str | None = None
    prefix: str = ""


def loopback_hosts(host: str) -> frozenset[str]:
    """The names that requests may use when bound to a loopback address; none are checked for any other address."""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    return frozenset({"localhost", "127.0.0.1", "[::1]", host}) if loopback else frozenset()


class Guard:
    """Checks each request and adds the security headers to each answer.

    Args:
        app: the application.
        access: who may ask.
    """

    def __init__(self, app: App, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in reversed(scope["headers"])}
        safe = _with_headers(send)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(safe, *refusal)
            return
        scope["root_path"] = self._access.prefix
        if self._access.token is not None and self._own_path(scope) not in _OPEN_PATHS:
            given, by_query = _given_token(scope, headers)
            # bytes: compare_digest takes no text beyond ASCII
            if not hmac.compare_digest(given.encode(), self._access.token.encode()):
                await _answer(safe, 401, "a token is needed: open the address with ?token=... once")
                return
            if by_query:
                await self._keep_token(scope, safe)
                return
        asked = {**scope, "method": "GET"}  # the application knows no HEAD; the server leaves out that answer's body
        await self._app(asked, receive, safe)
        scope["route"] = asked.get("route")

    def _refusal(self, scope: Scope, headers: dict[bytes, str]) -> tuple[int, str] | None:
        if scope["method"] not in ("GET", "HEAD"):
            return 405, "the monitor only reads: GET and HEAD"
        host = headers.get(b"host", "").lower()
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if self._access.hosts and name not in self._access.hosts:
            return 421, "this name does not lead here: use localhost, or start the monitor with --host"
        return None

    def _own_path(self, scope: Scope) -> str:
        """The path behind the prefix, which a proxy may already have cut."""
        path, prefix = str(scope["path"]), self._access.prefix
        return (path.removeprefix(prefix) or "/") if path == prefix or path.startswith(f"{prefix}/") else path

    async def _keep_token(self, scope: Scope, send: Send) -> None:
        """Put the token into a cookie and lead to the same address without it."""
        query = [(k, v) for k, v in urllib.parse.parse_qsl(scope["query_string"].decode("latin-1")) if k != "token"]
        # the application's own path, so that it leads nowhere else
        path = self._access.prefix + urllib.parse.quote("/" + self._own_path(scope).lstrip("/"))
        target = path + (f"?{urllib.parse.urlencode(query)}" if query else "")
        cookie = f"{COOKIE}={urllib.parse.quote(self._access.token or '', safe='')}"
        place = f"; Path={self._access.prefix or '/'}; HttpOnly; SameSite=Strict; Max-Age={_COOKIE_SECONDS}"
        extra = [(b"location", target.encode()), (b"set-cookie", (cookie + place).encode())]
        await _answer(send, 303, "see there", extra)


def _given_token(scope: Scope, headers: dict[bytes, str]) -> tuple[str, bool]:
    """The token of a request, and whether it stands in its address."""
    query = urllib.parse.parse_qs(scope["query_string"].decode("latin-1"))
    if "token" in query:
        return query["token"][0], True
    scheme, _, bearer = headers.get(b"authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return bearer.strip(), False
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load(headers.get(b"cookie", ""))
    except Exception:  # what cannot be parsed holds no token
        return "", False
    return (urllib.parse.unquote(cookies[COOKIE].value) if COOKIE in cookies else ""), False


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *_HEADERS]
        await send(message)

    return sending


async def _answer(send: Send, status: int, text: str, extra: list[tuple[bytes, bytes]] | None = None) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store"), *(extra or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{text}\n".encode()})
