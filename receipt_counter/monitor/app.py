"""The web application: a JSON API over what the monitor knows. Everything is GET, nothing is written."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from receipt_counter import __version__
from receipt_counter.monitor import pages, routes
from receipt_counter.monitor.monitor import Monitor
from receipt_counter.monitor.queries import NotThereError
from receipt_counter.monitor.security import Access, App, Guard
from receipt_counter.monitor.stream import Streams
from receipt_counter.monitor.telemetry import Durations, Timing


def create_app(monitor: Monitor) -> FastAPI:
    """The application without its guard; a page finds the prefix of all paths in `request.scope["root_path"]`.

    Args:
        monitor: watches; its life is the caller's.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.streams = Streams(monitor)
        yield
        app.state.streams.close()

    app = FastAPI(
        title="Receipt Counter training monitor",
        description="Runs and studies of a folder of experiments, live. Read-only.",
        version=__version__,
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        openapi_url="/openapi.json",
        lifespan=lifespan,
    )
    app.state.monitor, app.state.durations = monitor, Durations()
    app.include_router(routes.router)
    app.include_router(pages.router())

    @app.exception_handler(NotThereError)
    async def not_there(request: Request, error: NotThereError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=404)

    return app


def guarded(app: FastAPI, access: Access) -> App:
    """The application as it is served."""
    return Timing(Guard(app, access), app.state.durations)
