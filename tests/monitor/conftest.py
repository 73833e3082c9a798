"""A browser, and the monitor served to it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn

from receipt_counter.monitor.app import create_app, guarded
from receipt_counter.monitor.security import Access, loopback_hosts
from receipt_counter.monitor.serve import open_monitor, open_source, wait_until_read
from tests.monitor import pages_store
from tests.monitor.browser import Browser, Tab, browser


@dataclass(frozen=True)
class Site:
    """The monitor, served: its address, and the ids of what it shows."""

    url: str
    finished: str = pages_store.FINISHED
    failed: str = pages_store.FAILED
    hostile: str = pages_store.HOSTILE
    search: str = pages_store.SEARCH
    study: str = pages_store.ABLATION
    seeds: tuple[str, ...] = pages_store.SEEDS


@contextmanager
def served(folder: Path | str, cache: Path, *, prefix: str = "", port: int = 0) -> Iterator[Site]:
    """The monitor of a folder or a store, as `receipt-counter monitor` serves it."""
    with open_monitor(open_source(str(folder), cache), cache) as monitor:
        wait_until_read(monitor)
        app = create_app(monitor)
        with socket.create_server(("127.0.0.1", port)) as listener:
            access = Access(loopback_hosts("127.0.0.1"), prefix=prefix)
            server = uvicorn.Server(
                uvicorn.Config(guarded(app, access), log_level="error", timeout_graceful_shutdown=1)
            )
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            try:
                while not server.started:
                    time.sleep(0.01)
                yield Site(f"http://127.0.0.1:{listener.getsockname()[1]}{prefix}/")
            finally:
                server.should_exit = True
                app.state.streams.close()
                thread.join()


@pytest.fixture(scope="session")
def pages_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pages_store.make_store(tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="session")
def site(pages_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with served(pages_folder, tmp_path_factory.mktemp("cache")) as running:
        yield running


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Tab]:
    page = chromium.tab()
    yield page
    page.close()
