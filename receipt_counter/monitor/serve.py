"""Serving the monitor, and writing its report without serving."""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from receipt_counter.errors import UserError
from receipt_counter.monitor.app import create_app, guarded
from receipt_counter.monitor.catalogue import default_cache, open_catalogue
from receipt_counter.monitor.monitor import Monitor
from receipt_counter.monitor.security import TOKEN_VARIABLE, Access, loopback_hosts
from receipt_counter.monitor.source import LocalSource, Source, StoreSource
from receipt_counter.monitor.summary_report import summary_report
from receipt_counter.storage.files import write_json

_PORTS_TRIED = 100
_GRACE_SECONDS = 3
_ANALYSIS_SECONDS = 600.0


@dataclass(frozen=True)
class Service:
    """How the monitor is served.

    Attributes:
        host: address to listen on.
        port: 0 takes any free one.
        prefix: path under which it lies, such as "/monitor"; empty: none.
        token: that requests must know; None: none.
        open_browser: whether to show it to the user at once.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    prefix: str = ""
    token: str | None = None
    open_browser: bool = False


def open_source(location: str, cache: Path | None) -> Source:
    """The experiments of a location.

    Args:
        location: a folder, or `s3://bucket/prefix`.
        cache: as for `open_monitor`; of a store of objects, what is shown is mirrored there.

    Raises:
        UserError: there are none, or it is of a kind that is not supported.
    """
    if "://" in location and not location.startswith("s3://"):
        raise UserError(f"--experiments-dir {location}: only a folder or s3://bucket/prefix can be watched")
    if "://" in location:
        return StoreSource(location, _place(location, cache) / "mirror")
    return LocalSource(location)


def _place(name: str, cache: Path | None) -> Path:
    return (cache or default_cache(name)).expanduser().resolve()


@contextlib.contextmanager
def open_monitor(source: Source, cache: Path | None) -> Iterator[Monitor]:
    """Watch a source while the block lasts.

    Args:
        source: the experiments.
        cache: where the index lies; None takes the user's cache.

    Raises:
        UserError: the cache cannot be written, or would lie in the folder that is watched.
    """
    place = _place(source.name, cache)
    if place.is_relative_to(source.root):
        raise UserError(f"--cache-dir {place}: lies in the folder of experiments, which the monitor never writes to")
    with open_catalogue(place) as catalogue, Monitor(source, catalogue) as monitor:
        yield monitor


def serve(monitor: Monitor, service: Service, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        monitor: watches.
        service: where and for whom.
        announce: told the address once it answers.

    Raises:
        UserError: the port is in use or the address is not this machine's.
    """
    app = create_app(monitor)
    with listening(service.host, service.port) as listener:
        port = listener.getsockname()[1]
        shown = f"[{service.host}]" if ":" in service.host else service.host
        address = f"http://{shown}:{port}{service.prefix}/"
        access = Access(loopback_hosts(service.host), service.token, service.prefix)
        options = {"log_level": "warning", "access_log": False, "server_header": False, "proxy_headers": False}
        config = uvicorn.Config(guarded(app, access), timeout_graceful_shutdown=_GRACE_SECONDS, **options)  # type: ignore[arg-type]  # a mapping of mixed types
        server = _Server(config, app)
        before = signal.signal(signal.SIGTERM, _interrupt)
        threading.Thread(target=_announce, args=(server, address, announce, service.open_browser), daemon=True).start()
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            pass  # uvicorn raises again what it was stopped by
        finally:
            signal.signal(signal.SIGTERM, before)


class _Server(uvicorn.Server):
    """A server whose event streams end when it is asked to stop, instead of holding it up."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop."""
        streams = getattr(self._app.state, "streams", None)  # there are none before the application has started
        if streams is not None:
            streams.close()
        super().handle_exit(sig, frame)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _announce(server: uvicorn.Server, address: str, announce: Callable[[str], None], open_browser: bool) -> None:
    while not server.started:
        if server.should_exit:
            return
        time.sleep(0.02)
    announce(address)
    if open_browser:
        webbrowser.open(address)


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens.

    Raises:
        UserError: the port is in use, may not be used, or the address is not this machine's.
    """
    try:
        listener = _bound(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            free = next((other for other in range(port + 1, port + _PORTS_TRIED) if _is_free(host, other)), 0)
            raise UserError(f"--port {port}: is in use on {host}; {free} is free: --port {free}") from None
        if error.errno in (errno.EACCES, errno.EADDRNOTAVAIL) or isinstance(error, socket.gaierror):
            raise UserError(f"--host {host} --port {port}: {error.strerror}") from None
        raise
    with listener:
        yield listener


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener


def _is_free(host: str, port: int) -> bool:
    try:
        _bound(host, port).close()
    except (OSError, OverflowError):
        return False
    return True


def write_report(monitor: Monitor, output: Path) -> dict[str, Any]:
    """Write the summary report once everything was read and every study was analysed.

    Returns:
        Its content.

    Raises:
        UserError: the folder or the output cannot be used.
    """
    wait_until_read(monitor)
    deadline = time.monotonic() + _ANALYSIS_SECONDS
    while time.monotonic() < deadline:
        # all are asked for, each time: that is what has them analysed
        if all([monitor.results_are_current(study) for study in monitor.studies.values()]):
            break
        time.sleep(0.2)
    content = summary_report(monitor).model_dump(mode="json")
    write_json(output, content)
    return content


def wait_until_read(monitor: Monitor) -> None:
    """Wait for the first reading.

    Raises:
        UserError: the folder cannot be read.
    """
    while not monitor.scans or monitor.scanning() is not None:
        if monitor.problem is not None:
            raise UserError(monitor.problem)
        time.sleep(0.05)


def read_token(environment: str | None, file: Path | None) -> str | None:
    """The token that requests must know.

    Args:
        environment: value of the variable that may hold it.
        file: that may hold it instead.

    Raises:
        UserError: the file cannot be read, or what is given is none.
    """
    place, token = TOKEN_VARIABLE, environment
    if file is not None:
        place = f"--token-file {file}"
        try:
            token = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{place}: cannot be read: {getattr(error, 'strerror', 'not UTF-8')}") from None
    if token is None:
        return None
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable():
        raise UserError(f"{place}: holds no token; use a line of letters, digits and signs, without accents")
    return token
