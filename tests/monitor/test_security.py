"""Who may ask, and what browsers are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from receipt_counter.monitor.app import create_app, guarded
from receipt_counter.monitor.monitor import Monitor
from receipt_counter.monitor.security import COOKIE, Access, loopback_hosts
from tests.monitor.support import watching, write_record

TOKEN = "s3cret: =;%+"


@pytest.fixture(scope="module")
def monitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitor]:
    root: Path = tmp_path_factory.mktemp("experiments")
    write_record(root / "runs" / "one")
    with watching(root, tmp_path_factory.mktemp("cache")) as (found, _):
        yield found


def client_of(monitor: Monitor, **access: object) -> TestClient:
    application = guarded(create_app(monitor), Access(**access))  # type: ignore[arg-type]  # by name
    return TestClient(application, base_url="http://localhost:8080", follow_redirects=False)


@pytest.mark.parametrize("path", ["/api/experiments", "/api/nothing", "/healthz", "/api/experiments?sort=" + "x" * 200])
def test_every_answer_has_the_headers(monitor: Monitor, path: str) -> None:
    headers = client_of(monitor).get(path).headers
    policy = headers["content-security-policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == directives["frame-ancestors"] == directives["base-uri"] == "'none'"
    assert directives["script-src"] == "'self'", "scripts are files of ours, none stands in a page"
    assert "http" not in policy, "nothing is loaded from elsewhere"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/", "/run", "/api/experiments", "/healthz", "/static/style.css", "/api/nothing"])
def test_whoever_asks_for_the_head_gets_what_get_has(monitor: Monitor, path: str) -> None:
    head, whole = client_of(monitor).head(path), client_of(monitor).get(path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_it_only_reads(monitor: Monitor, method: str) -> None:
    assert client_of(monitor).request(method, "/api/experiments").status_code == 405


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8080", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8080", 200),
        ("LOCALHOST", 200),
        ("evil.example", 421),
        ("localhost.evil.example:8080", 421),
        ("evil.example:localhost", 421),
        ("", 421),
    ],
)
def test_names_that_were_made_to_lead_here_are_refused(monitor: Monitor, host: str, status: int) -> None:
    client = client_of(monitor, hosts=loopback_hosts("127.0.0.1"))
    assert client.get("/healthz", headers={"host": host}).status_code == status


@pytest.mark.parametrize(("host", "checked"), [("127.0.0.2", True), ("::1", True), ("0.0.0.0", False), ("a.b", False)])
def test_names_are_checked_where_only_this_machine_is_served(host: str, checked: bool) -> None:
    assert bool(loopback_hosts(host)) == checked


def test_a_token_opens_by_header_cookie_or_once_by_address(monitor: Monitor) -> None:
    client = client_of(monitor, token=TOKEN, prefix="/monitor")
    assert client.get("/monitor/api/experiments").status_code == 401
    for wrong in ("", "s3cret", TOKEN + "x"):
        assert client.get("/api/experiments", params={"token": wrong}).status_code == 401
    led = client.get("/monitor/api/experiments", params={"token": TOKEN, "q": "a b"})
    assert (led.status_code, led.headers["location"]) == (303, "/monitor/api/experiments?q=a+b")
    assert {"HttpOnly", "SameSite=Strict", "Path=/monitor"} <= {x.strip() for x in led.headers["set-cookie"].split(";")}
    assert client.cookies[COOKIE]
    assert client.get("/monitor/api/experiments").status_code == 200
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert client_of(monitor, token=TOKEN).get("/api/experiments", headers=bearer).status_code == 200
    assert client_of(monitor, token=TOKEN).get("/healthz").status_code == 200


def test_a_token_in_the_address_leads_nowhere_else(monitor: Monitor) -> None:
    led = client_of(monitor, token="t").get("http://localhost//evil.example/?token=t")
    assert led.headers["location"] == "/evil.example/"


@pytest.mark.parametrize("path", ["/monitor/api/experiments", "/api/experiments"])
def test_behind_a_prefix_whether_or_not_the_proxy_cuts_it(monitor: Monitor, path: str) -> None:
    client = client_of(monitor, prefix="/monitor")
    assert client.get(path).status_code == 200
    assert client.get("/monitorapi/experiments").status_code == 404
    assert client.get(path, headers={"x-forwarded-prefix": "/elsewhere"}).status_code == 200
