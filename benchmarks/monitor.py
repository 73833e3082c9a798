"""The training monitor beside TensorBoard on the same folder: time to the first curve, to everything, memory.

Makes 1,000 finished runs of 1,000 points of 20 tags and a run with a tag of a million points (about 1.2 GB), then
measures: the monitor with an empty cache, the monitor started again, requests to it, the processor time it takes while
nothing happens, and TensorBoard with its data server. Times of requests are the median and the worst of several.

    python benchmarks/monitor.py                              # about 5 minutes
    python benchmarks/monitor.py --runs 100 --points 1000     # a quick look
    python benchmarks/monitor.py --directory DIR              # keeps the folder there for the next time
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import math
import os
import random
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary

from receipt_counter.config.loading import resolve, to_yaml
from receipt_counter.monitor.event_files import masked_crc

TAGS = (
    *("train_total_loss", "train_cls_loss", "train_lm_loss", "val_total_loss", "classification_accuracy"),
    *("classification_f1", "answer_accuracy", "generation_bleu", "generation_rouge1_f", "learning_rate_vision"),
    *("learning_rate_language", "learning_rate_head", "grad_norm", "grad_norm_vision", "grad_norm_language"),
    *("images_per_second", "questions_per_second", "stage", "epoch", "memory_gigabytes"),
)
TEMPLATES = 20  # different event files; every run has a copy of one
LONG_TAG_POINTS = 1_000_000
START = 1_790_000_000
WANTED = {"home": 1.0, "curves of a run": 0.5, "compare 20 runs": 1.5, "curve of 1 M points": 0.5}
PATIENCE = 1200.0


def main() -> None:
    """Make the folder, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--points", type=int, default=1000, help="of each tag")
    parser.add_argument("--directory", type=Path, help="where the folder is made, or was")
    parser.add_argument("--skip-tensorboard", action="store_true")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        place = arguments.directory or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if not (place / "runs").exists():
            began = time.monotonic()
            write_experiments(place, arguments.runs, arguments.points)
            print(f"folder made in {time.monotonic() - began:.0f} s")
        size = sum(file.stat().st_size for file in place.glob("runs/*/events/*"))
        print(f"{len(list(place.glob('runs/*')))} runs, {size / 1e9:.2f} GB of event files, {os.cpu_count()} cores")
        cache = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rows = {"monitor, cold": cold(place, cache), "monitor, warm": warm(place, cache)}
        if not arguments.skip_tensorboard:
            rows["TensorBoard"] = tensorboard(place)
    show(rows)


def write_experiments(place: Path, runs: int, points: int) -> None:
    """Finished runs, and one with a tag of a million points; all of them newest last."""
    config = to_yaml(resolve(preset="laptop").config)
    templates = [events(points, dict.fromkeys(TAGS, points), seed) for seed in range(TEMPLATES)]
    for number in range(runs):
        content = templates[number % TEMPLATES]
        write_run(place / "runs" / f"{number:012x}", content, config, number)
    long = events(LONG_TAG_POINTS, {**dict.fromkeys(TAGS, points), "train_total_loss": LONG_TAG_POINTS}, 99)
    write_run(place / "runs" / "a-million", long, config, runs)


def write_run(directory: Path, content: bytes, config: str, number: int) -> None:
    """A run directory as training leaves it, without a model."""
    (directory / "events").mkdir(parents=True)
    (directory / "events" / f"events.out.tfevents.{START + number}.host.1.0").write_bytes(content)
    (directory / "config.yaml").write_text(config.replace("seed: 42", f"seed: {number}"))
    metrics = {name: random.Random(number).random() for name in TAGS[3:9]}
    record = {
        "run_id": directory.name,
        "experiment_name": f"experiment {number // 10}",
        "seed": number,
        "status": "failed" if number % 50 == 7 else "finished",
        "started": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(START + 60 * number)),
        "metrics": metrics,
        "device_seconds": 100.0,
        "epochs": 12,
        "error": {"message": "out of memory"} if number % 50 == 7 else None,
        "lineage": {"code_version": "0.1.0", "data_fingerprint": "9a0f6c1e55d2b741"},
    }
    (directory / "run.json").write_text(json.dumps(record))
    os.utime(directory, (START + number, START + number))


def events(steps: int, counts: dict[str, int], seed: int) -> bytes:
    """An event file: each tag at as many steps as it has points, spread evenly."""
    generator = random.Random(seed)
    forms = {tag: scalar_form(tag) for tag in counts}
    every = {tag: max(1, steps // count) for tag, count in counts.items()}
    content = bytearray(record(Event(wall_time=START, file_version="brain.Event:2").SerializeToString()))
    for step in range(1, steps + 1):
        stamp = b"\t" + struct.pack("<d", START + 0.1 * step) + b"\x10" + varint(step)
        decay = math.exp(-3 * step / steps)
        for tag, form in forms.items():
            if step % every[tag] == 0:
                content += record(stamp + form + struct.pack("<f", decay + 0.1 * generator.random()))
    return bytes(content)


def scalar_form(tag: str) -> bytes:
    """A scalar's event between its step and its value."""
    event = Event(summary=Summary(value=[Summary.Value(tag=tag, simple_value=1.0)]))
    return bytes(event.SerializeToString()[:-4])


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def record(data: bytes) -> bytes:
    """A TFRecord."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


class Server:
    """A server that is measured.

    Args:
        command: starts it.
        port: where it listens.
    """

    def __init__(self, command: list[str], port: int) -> None:
        self.began = time.monotonic()
        self.process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.port, self.peak = port, 0.0

    def get(self, path: str) -> Any:
        """The JSON at an address; None if there is none yet."""
        self.measure()
        address = f"http://127.0.0.1:{self.port}{path}"
        with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            return json.load(answer)
        return None

    def until(self, condition: Callable[[], Any], patience: float = PATIENCE) -> float:
        """Seconds since its start until a condition holds; nan if it never does."""
        while time.monotonic() - self.began < patience:
            if condition():
                return time.monotonic() - self.began
            time.sleep(0.05)
        return math.nan

    def processes(self) -> list[psutil.Process]:
        """It and its children."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [self.process, *self.process.children(recursive=True)]
        return []

    def measure(self) -> float:
        """Memory of all its processes now, MB; memory that they share counts once."""
        total = 0.0
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss / 1e6
        self.peak = max(self.peak, total)
        return total

    def cpu(self, seconds: float) -> float:
        """Percent of a core that it takes over some seconds."""

        def used() -> float:
            times = [process.cpu_times() for process in self.processes()]
            return float(sum(found.user + found.system for found in times))

        before = used()
        time.sleep(seconds)
        return 100 * (used() - before) / seconds


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[Server]:
    """A server, until the block ends."""
    server = Server(command, port)
    try:
        yield server
    finally:
        children = server.processes()
        server.process.terminate()
        _, alive = psutil.wait_procs(children, timeout=10)
        for process in alive:
            process.kill()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def monitor(place: Path, cache: Path) -> contextlib.AbstractContextManager[Server]:
    """The monitor on a folder."""
    port = free_port()
    options = ["--experiments-dir", str(place), "--cache-dir", str(cache), "--port", str(port)]
    return running([sys.executable, "-m", "receipt_counter", "monitor", *options], port)


def runs_in(place: Path) -> list[str]:
    """Ids of all runs, the latest last."""
    return sorted(path.name for path in (place / "runs").iterdir() if path.name != "a-million")


def cold(place: Path, cache: Path) -> dict[str, str]:
    """The monitor with an empty cache."""
    names = runs_in(place)
    with monitor(place, cache) as server:
        home = server.until(lambda: (server.get("/api/experiments") or {}).get("total"))
        listed = server.until(lambda: (server.get("/api/experiments") or {}).get("total", 0) > len(names))
        curve = f"/api/experiments/{names[-1]}/metrics?tags=train_total_loss"
        first = server.until(lambda: (server.get(curve) or {}).get("tags"))
        everything = server.until(lambda: (server.get("/healthz") or {"scanning": 1})["scanning"] is None)
        return {
            "home answers": f"{home:.1f} s",
            "all runs listed": f"{listed:.1f} s",
            "first curve": f"{first:.1f} s",
            "all curves": f"{everything:.1f} s",
            "peak memory": f"{server.peak:.0f} MB",
        }


def warm(place: Path, cache: Path) -> dict[str, str]:
    """The monitor started again: how long requests take, memory, and what it takes while nothing happens."""
    names = runs_in(place)
    requests = {
        "home": "/api/experiments",
        "curves of a run": f"/api/experiments/{names[len(names) // 2]}/metrics",
        "curve of 1 M points": "/api/experiments/a-million/metrics?tags=train_total_loss",
        "1 M points, zoomed": "/api/experiments/a-million/metrics?tags=train_total_loss&from=400000&to=410000",
        "compare 20 runs": f"/api/compare?ids={','.join(names[:: max(1, len(names) // 20)][:20])}",
    }
    with monitor(place, cache) as server:
        home = server.until(lambda: (server.get("/api/experiments") or {}).get("total"))
        ready = server.until(lambda: (server.get("/healthz") or {"scanning": 1})["scanning"] is None)
        rows = {"home answers": f"{home:.1f} s", "all curves": f"{ready:.1f} s"}
        for name, path in requests.items():
            rows[name] = timed(functools.partial(server.get, path), WANTED.get(name))
        rows["peak memory"] = f"{server.peak:.0f} MB"
        rows["memory afterwards"] = f"{server.measure():.0f} MB"
        rows["idle"] = f"{server.cpu(20):.1f} % of a core"
        return rows


def timed(request: Callable[[], Any], wanted: float | None) -> str:
    """Median and worst of some requests."""
    seconds = []
    for _ in range(9):
        began = time.monotonic()
        assert request() is not None
        seconds.append(time.monotonic() - began)
    kept = "" if wanted is None else f" (wanted: < {wanted} s)"
    return f"{1000 * statistics.median(seconds):.0f} ms, worst {1000 * max(seconds):.0f} ms{kept}"


def tensorboard(place: Path) -> dict[str, str]:
    """TensorBoard as it comes, with its data server."""
    names, port = runs_in(place), free_port()
    program = shutil.which("tensorboard", path=str(Path(sys.executable).parent)) or "tensorboard"
    command = [program, "--logdir", str(place / "runs"), "--port", str(port)]
    with running(command, port) as server:
        home = server.until(lambda: server.get("/data/environment") is not None)
        tags = "/data/plugin/scalars/tags"
        query = f"tag=train_total_loss&run={names[-1]}%2Fevents"
        curve = f"/data/plugin/scalars/scalars?{query}"
        first = server.until(lambda: server.get(curve))
        everything = server.until(lambda: settled(server, tags, len(names)))
        rows = {
            "home answers": f"{home:.1f} s",
            "first curve": f"{first:.1f} s",
            "all curves": f"{everything:.1f} s",
            "curves of a run": timed(lambda: [server.get(curve.replace("train_total_loss", t)) for t in TAGS], None),
            "peak memory": f"{server.peak:.0f} MB",
            "memory afterwards": f"{server.measure():.0f} MB",
            "idle": f"{server.cpu(20):.1f} % of a core",
        }
        rows["curves of a run"] += " (1 request a tag)"
        return rows


def settled(server: Server, tags: str, runs: int) -> bool:
    """Whether all runs are there with all their points."""
    found = server.get(tags) or {}
    if len(found) <= runs or any(len(of_run) < len(TAGS) for of_run in found.values()):
        return False
    last = [server.get(f"/data/plugin/scalars/scalars?tag=epoch&run={run.replace('/', '%2F')}") for run in found]
    return all(points and points[-1][1] >= points[0][1] and len(points) > 1 for points in last)


def show(rows: dict[str, dict[str, str]]) -> None:
    """Print the table."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    width = max(map(len, names))
    columns = {title: max(len(title), *(len(row.get(name, "–")) for name in names)) for title, row in rows.items()}
    print(" ".join([" " * width, *(title.ljust(size) for title, size in columns.items())]))
    for name in names:
        print(" ".join([name.ljust(width), *(rows[t].get(name, "–").ljust(size) for t, size in columns.items())]))


if __name__ == "__main__":
    main()
