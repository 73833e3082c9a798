"""What the monitor says of itself, in Prometheus' text format."""

from __future__ import annotations

import threading
import time
from collections import Counter

from receipt_counter.monitor.monitor import Monitor
from receipt_counter.monitor.security import App, Message, Receive, Scope, Send

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_ENDLESS = "/api/stream"  # lasts as long as the page is open


class Durations:
    """How long requests took, by route."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, int], list[int]] = {}
        self._sums: Counter[tuple[str, int]] = Counter()

    def add(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        with self._lock:
            counts = self._counts.setdefault((route, status), [0] * (len(_BUCKETS) + 1))
            counts[sum(seconds > bound for bound in _BUCKETS)] += 1
            self._sums[route, status] += seconds  # type: ignore[assignment]  # a Counter may count fractions

    def lines(self) -> list[str]:
        """The histogram."""
        name = "receipt_counter_monitor_request_duration_seconds"
        lines = [f"# HELP {name} How long requests took.", f"# TYPE {name} histogram"]
        with self._lock:
            for (route, status), counts in sorted(self._counts.items()):
                labels, total = f'route="{route}",status="{status}"', 0
                for bound, count in zip((*map(str, _BUCKETS), "+Inf"), counts, strict=True):
                    total += count
                    lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {total}')
                lines.append(f"{name}_sum{{{labels}}} {self._sums[route, status]:.6f}")
                lines.append(f"{name}_count{{{labels}}} {total}")
        return lines


class Timing:
    """Middleware that counts requests by route.

    Args:
        app: the application.
        durations: where they are counted.
    """

    def __init__(self, app: App, durations: Durations) -> None:
        self._app, self._durations = app, durations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        began, status = time.monotonic(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            # names that the application knows, not what was asked for: labels must not grow without end
            route = getattr(scope.get("route"), "path", "none")
            if scope["type"] == "http" and route != _ENDLESS:
                self._durations.add(route, status, time.monotonic() - began)


def exposition(monitor: Monitor, durations: Durations) -> str:
    """Everything, as text."""
    now = time.time()
    statuses = Counter(run.status(now) for run in monitor.runs.values())
    scanning = monitor.scanning()
    gauges = {
        "scan_duration_seconds": ("How long the last look at the folder took.", monitor.scan_seconds),
        "scan_lag_seconds": ("Since the last look at the folder ended.", time.monotonic() - monitor.last_scan),
        "runs_to_read": ("Runs whose events are yet to be read.", scanning.total - scanning.done if scanning else 0),
        "studies": ("Studies there are.", len(monitor.studies)),
        "healthy": ("Whether the last look at the folder went well.", int(monitor.problem is None)),
    }
    prefix = "receipt_counter_monitor"
    lines = [f"# HELP {prefix}_scans_total Looks at the folder.", f"# TYPE {prefix}_scans_total counter"]
    lines.append(f"{prefix}_scans_total {monitor.scans}")
    for name, (text, value) in gauges.items():
        lines += [f"# HELP {prefix}_{name} {text}", f"# TYPE {prefix}_{name} gauge", f"{prefix}_{name} {value:.6g}"]
    lines += [f"# HELP {prefix}_runs Runs by status.", f"# TYPE {prefix}_runs gauge"]
    lines += [f'{prefix}_runs{{status="{status}"}} {count}' for status, count in sorted(statuses.items())]
    return "\n".join([*lines, *durations.lines(), ""])
