"""The monitor's pages: HTML shells and static files; everything they show comes from the JSON API.

All pages lie beside each other at the app's root and name everything relatively (`static/...`, `api/...`,
`run?id=...`), so that they work behind any path prefix without being told of it.
"""

from __future__ import annotations

import gzip
import json
import mimetypes
import re
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from receipt_counter.evaluation.gates import LOWER_IS_BETTER
from receipt_counter.evaluation.wording import SHARES, TITLES
from receipt_counter.monitor.monitor import Monitor
from receipt_counter.monitor.queries import NotThereError
from receipt_counter.monitor.reading import UnreadableError, read_inside
from receipt_counter.monitor.study_queries import study_of
from receipt_counter.report import theme

PAGES = {"": "home", "run": "run", "compare": "compare", "study": "study"}
_HERE = Path(__file__).parent
_LIBRARY = "plotly.js"
_PROJECT = "project.js"
_REPORT_LIMIT = 64 << 20
_A_YEAR = "public, max-age=31536000, immutable"


class _File(NamedTuple):
    """A static file, compressed, with the hash that tells its versions apart."""

    content: bytes
    tag: str
    type: str


def router() -> APIRouter:
    """Routes of the pages and of their static files, for the app that has the API."""
    routes = APIRouter(include_in_schema=False)
    for path, name in PAGES.items():
        routes.add_api_route(f"/{path}", _page_route(name), methods=["GET"], response_class=HTMLResponse)
    routes.add_api_route("/static/{name}", _static_route, methods=["GET"])
    routes.add_api_route("/report", _report_route, methods=["GET"])
    return routes


def _page_route(name: str) -> Callable[[], HTMLResponse]:
    def page() -> HTMLResponse:
        return HTMLResponse(_shell(name), headers={"Cache-Control": "no-cache"})

    return page


@cache
def _shell(name: str) -> str:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(f"{name}.html.j2").render(page=name, library=f"{_LIBRARY}?v={_file(_LIBRARY).tag}")


def _static_route(name: str, request: Request) -> Response:
    """A file of the pages; the plotting library, whose address tells its version, is kept by the browser for good."""
    if name not in _names():
        raise HTTPException(404, f"there is no static file {name!r}")
    file = _file(name)
    lasting = name == _LIBRARY and request.query_params.get("v") == file.tag
    tag = f'"{file.tag}"'
    headers = {"ETag": tag, "Cache-Control": _A_YEAR if lasting else "no-cache", "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.content, media_type=file.type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(gzip.decompress(file.content), media_type=file.type, headers=headers)


def _report_route(study: str, request: Request) -> Response:
    """A study's report as a file to save: what lies in the folder is not trusted to run among these pages."""
    monitor: Monitor = request.app.state.monitor
    directory = study_of(monitor, study).directory
    try:
        content = read_inside(monitor.root, directory / "report.html", _REPORT_LIMIT)
    except FileNotFoundError:
        raise NotThereError("this study has no report yet: `receipt-counter compare` writes one") from None
    except UnreadableError as error:
        raise NotThereError(str(error)) from None
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", study)
    return Response(
        content, media_type="text/html", headers={"Content-Disposition": f'attachment; filename="{name}-report.html"'}
    )


@cache
def _names() -> frozenset[str]:
    return frozenset({_LIBRARY, _PROJECT, *(path.name for path in (_HERE / "static").iterdir() if path.is_file())})


@cache
def _file(name: str) -> _File:
    if name == _LIBRARY:
        content = get_plotlyjs().encode()
    elif name == _PROJECT:
        content = _project_module().encode()
    else:
        content = (_HERE / "static" / name).read_bytes()
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return _File(gzip.compress(content, 6, mtime=0), sha256(content).hexdigest()[:16], kind)


def _project_module() -> str:
    """What the pages share with the reports: how figures are named, which are shares, and how charts look."""
    shared = {
        "titles": TITLES,
        "shares": SHARES,
        "lowerIsBetter": LOWER_IS_BETTER,
        "template": theme.TEMPLATE.to_plotly_json(),
        "colours": [theme.BLUE, theme.ORANGE, theme.GREEN, theme.PURPLE, theme.RED, theme.TEAL],
        "grey": theme.GREY,
    }
    return "".join(f"export const {name} = {json.dumps(value)};\n" for name, value in shared.items())
