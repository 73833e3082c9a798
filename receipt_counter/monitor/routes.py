"""The API's addresses."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from pydantic import BaseModel

from receipt_counter import __version__
from receipt_counter.monitor import compare, evaluations, queries, schemas, study_queries, study_schemas
from receipt_counter.monitor.monitor import Monitor
from receipt_counter.monitor.run_entry import RunEntry
from receipt_counter.monitor.study_entry import StudyEntry
from receipt_counter.monitor.summary_report import summary_report
from receipt_counter.monitor.telemetry import exposition

MOST_POINTS = 20_000
MOST_COMPARED = 200
_LAG_SECONDS = 60.0  # without a look at the folder, after which something hangs

_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such thing; `detail` says what is."}}
router = APIRouter(responses=_NOT_FOUND)


def _monitor(request: Request) -> Monitor:
    monitor: Monitor = request.app.state.monitor
    return monitor


def _run(request: Request, identity: Annotated[str, Path(alias="id", description="A run's id.")]) -> RunEntry:
    return queries.run_of(_monitor(request), identity)


def _study(request: Request, identity: Annotated[str, Path(alias="id", description="A study's id.")]) -> StudyEntry:
    return study_queries.study_of(_monitor(request), identity)


WithMonitor = Annotated[Monitor, Depends(_monitor)]
WithRun = Annotated[RunEntry, Depends(_run)]
WithStudy = Annotated[StudyEntry, Depends(_study)]
Split = Annotated[str | None, Query(max_length=50, description="A split; the one that matters most by default.")]
Points = Annotated[int, Query(ge=4, le=MOST_POINTS, description="Points of each curve at most.")]
Tags = Annotated[str, Query(max_length=20_000, description="Tags, separated by commas; `*` ends one that begins so.")]


def _names(text: str) -> list[str]:
    """Names separated by commas; a comma in one of them is written %2C."""
    return [name.replace("%2C", ",") for name in text.split(",") if name]


def _answer(content: BaseModel) -> Response:
    """JSON of a model that was just built: large ones are not checked a second time."""
    return Response(
        content.model_dump_json(warnings=False), media_type="application/json", headers={"cache-control": "no-store"}
    )


@router.get("/api/experiments", response_model=schemas.Experiments, tags=["experiments"])
def experiments(
    monitor: WithMonitor,
    study: Annotated[str | None, Query(max_length=300, description="Id of a study.")] = None,
    status: Annotated[str, Query(max_length=200, description="Statuses, separated by commas.")] = "",
    q: Annotated[str | None, Query(max_length=300, description="Words to be found in names, ids and errors.")] = None,
    sort: Annotated[str, Query(max_length=100, description=f"{', '.join(queries.SORTS)}, or a metric.")] = "status",
    order: Annotated[Literal["asc", "desc"], Query(description="What has no value comes last either way.")] = "asc",
) -> Response:
    """All runs, failures first; filtered and sorted."""
    return _answer(
        queries.experiments(monitor, study=study, status=_names(status), q=q, sort=sort, descending=order == "desc")
    )


@router.get("/api/experiments/{id}", response_model=schemas.ExperimentDetail, tags=["experiments"])
def experiment(monitor: WithMonitor, run: WithRun) -> Response:
    """A run: its config, lineage, stages and what went wrong."""
    return _answer(queries.experiment(monitor, run))


@router.get("/api/experiments/{id}/metrics", response_model=schemas.Metrics, tags=["experiments"])
def metrics(
    run: WithRun,
    tags: Tags = "",
    points: Points = 1000,
    start: Annotated[float | None, Query(alias="from", description="First step, or second since 1970.")] = None,
    end: Annotated[float | None, Query(alias="to", description="Last step, or second since 1970.")] = None,
    x: Annotated[Literal["step", "time"], Query(description="What `from` and `to` are.")] = "step",
) -> Response:
    """A run's curves; a range is thinned from all its points again."""
    return _answer(queries.metrics(run, _names(tags), points=points, start=start, end=end, x=x))


@router.get("/api/experiments/{id}/summary", response_model=schemas.Summary, tags=["experiments"])
def summary(monitor: WithMonitor, run: WithRun) -> Response:
    """A run's figures on each split with their intervals, and the promotion gates."""
    return _answer(evaluations.summary(monitor, run))


@router.get("/api/experiments/{id}/confusion", response_model=schemas.Confusion, tags=["experiments"])
def confusion(monitor: WithMonitor, run: WithRun, split: Split = None) -> Response:
    """The confusion matrix of a split."""
    return _answer(evaluations.confusion(monitor, run, split))


@router.get("/api/experiments/{id}/slices", response_model=schemas.Slices, tags=["experiments"])
def slices(monitor: WithMonitor, run: WithRun, split: Split = None) -> Response:
    """How a run did on parts of a split."""
    return _answer(evaluations.slices(monitor, run, split))


@router.get("/api/experiments/{id}/mistakes", response_model=schemas.Mistakes, tags=["experiments"])
def mistakes(
    monitor: WithMonitor,
    run: WithRun,
    split: Split = None,
    kind: Annotated[evaluations.Kind, Query(description="Wrong counts, right counts with wrong answers, or all.")] = (
        "all"
    ),
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 24,
) -> Response:
    """Images that a run got wrong, the worst first."""
    return _answer(evaluations.mistakes(monitor, run, split, kind, offset, limit))


@router.get(
    "/api/experiments/{id}/images/{split}/{image:path}",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}, "image/png": {}}, "description": "The picture."}},
    tags=["experiments"],
)
def image(
    monitor: WithMonitor,
    run: WithRun,
    split: Annotated[str, Path(max_length=50)],
    image: Annotated[str, Path(max_length=500, description="The example's id.")],
    size: Annotated[Literal["full", "thumbnail"], Query()] = "full",
) -> Response:
    """A picture that the run's dataset names."""
    content, kind = evaluations.picture(monitor, run, split, image, small=size == "thumbnail")
    return Response(content, media_type=kind, headers={"cache-control": "private, max-age=3600"})


@router.get("/api/experiments/{id}/log", response_model=schemas.Log, tags=["experiments"])
def log(
    monitor: WithMonitor, run: WithRun, lines: Annotated[int, Query(ge=1, le=5000, description="At most.")] = 200
) -> Response:
    """The end of the log of a run's trial, or what run.json says of the run's end."""
    return _answer(queries.log(monitor, run, lines))


@router.get("/api/compare", response_model=schemas.Comparison, tags=["experiments"])
def comparison(
    monitor: WithMonitor,
    ids: Annotated[
        str,
        Query(
            max_length=60_000, description=f"Run ids, separated by commas (one in an id is %2C); {MOST_COMPARED} count."
        ),
    ],
    tags: Tags = "",
    points: Points = 500,
    start: Annotated[float | None, Query(alias="from", description="First step.")] = None,
    end: Annotated[float | None, Query(alias="to", description="Last step.")] = None,
    group: Annotated[Literal["variant", "none"], Query(description="Sum up runs that differ in the seed.")] = "variant",
) -> Response:
    """Runs side by side: figures, the best of each, what differs in their configs, curves, bands over seeds.

    A range of curves and bands is thinned from all its points again.
    """
    chosen = _names(ids)[:MOST_COMPARED]
    return _answer(compare.compare(monitor, chosen, _names(tags), points=points, start=start, end=end, group=group))


@router.get("/api/studies", response_model=study_schemas.Studies, tags=["studies"])
def studies(monitor: WithMonitor) -> Response:
    """All studies, the latest first."""
    return _answer(study_queries.studies(monitor))


@router.get("/api/studies/{id}", response_model=study_schemas.StudyDetail, tags=["studies"])
def study(monitor: WithMonitor, entry: WithStudy) -> Response:
    """A study: its plan, progress, trials, findings and analysis; live while trials end."""
    return _answer(study_queries.study(monitor, entry))


@router.get("/api/studies/{id}/figures", response_model=study_schemas.Figures, tags=["studies"])
def figures(monitor: WithMonitor, entry: WithStudy) -> Response:
    """A study's figures for plotly, drawn by the code that draws its report."""
    return _answer(study_queries.figures(monitor, entry))


@router.get("/api/report", response_model=schemas.Report, tags=["report"])
def report(monitor: WithMonitor) -> Response:
    """The summary report of the whole folder."""
    return _answer(summary_report(monitor))


@router.get(
    "/api/stream",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {"text/event-stream": {"schema": {"$ref": "#/components/schemas/Change"}}},
            "description": "Events named `change`, whose data is a Change; comments in between keep the line open.",
        }
    },
    tags=["live"],
)
async def stream(request: Request) -> StreamingResponse:
    """What changes, as it changes; `Last-Event-ID` goes on where a connection was lost."""
    last = request.headers.get("last-event-id", "")
    last_id = int(last) if last.isdecimal() and len(last) < 20 else None
    return StreamingResponse(
        request.app.state.streams.open(last_id),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


@router.get("/api/changes", response_model=list[schemas.Change], tags=["live"])
def changes(monitor: WithMonitor, since: Annotated[int, Query(ge=0, description="A version.")]) -> Response:
    """What changed after a version, for clients without event streams."""
    found = [change.model_dump() for change in monitor.changes_since(since)]
    return Response(json.dumps(found), media_type="application/json", headers={"cache-control": "no-store"})


@router.get("/healthz", response_model=schemas.Health, responses={503: {"model": schemas.Health}}, tags=["live"])
def health(monitor: WithMonitor) -> Response:
    """Whether the monitor is alive and sees its folder."""
    since = time.monotonic() - monitor.last_scan if monitor.scans else None
    failing = monitor.problem is not None or (since is not None and since > _LAG_SECONDS)
    answer = _answer(
        schemas.Health(
            status="failing" if failing else "ok",
            version=__version__,
            experiments=len(monitor.runs),
            studies=len(monitor.studies),
            scanning=monitor.scanning(),
            last_scan_seconds_ago=since,
            problem=monitor.problem,
        )
    )
    answer.status_code = 503 if failing else 200
    return answer


@router.get("/metrics", response_class=PlainTextResponse, tags=["live"])
def prometheus(request: Request, monitor: WithMonitor) -> PlainTextResponse:
    """What the monitor says of itself, in Prometheus' text format."""
    text = exposition(monitor, request.app.state.durations)
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")
