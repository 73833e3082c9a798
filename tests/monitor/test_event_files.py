"""Event files, however they grow and whatever is broken in them."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from torch.utils.tensorboard import SummaryWriter

from receipt_counter.monitor.event_files import Chunk, EventDecoder
from tests.monitor.support import record, restart, scalar, write_events

SHORT = scalar("loss", 1, 0.5)


def decode_all(pieces: list[bytes]) -> dict[str, list[tuple[int, float]]]:
    """Points of a file that grew piece by piece, restarts obeyed: what is read is never given again."""
    decoder, waiting, points = EventDecoder(), b"", dict[str, list[tuple[int, float]]]()
    for piece in pieces:
        waiting += piece
        chunk = decoder.decode(waiting)
        waiting = waiting[chunk.consumed :]
        for part in chunk.parts:
            if part.restart is not None:
                points = {tag: [p for p in found if p[0] < part.restart] for tag, found in points.items()}
            for tag, found in part.points.items():
                points.setdefault(tag, []).extend(zip(found["step"].tolist(), found["value"].tolist(), strict=True))
    return {tag: found for tag, found in points.items() if found}


def tensorboards(directory: Path) -> dict[str, list[tuple[int, float]]]:
    """The same as TensorBoard reads it."""
    events = EventAccumulator(str(directory), size_guidance={SCALARS: 0}).Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


tags = st.sampled_from(["loss", "classification_accuracy", "é/unicode", "epoch"])
steps = st.one_of(st.integers(0, 300), st.integers(0, 2**62))
values = st.floats(width=32, allow_nan=False)
written = st.lists(
    st.one_of(st.builds(scalar, tags, steps, values), st.builds(restart, st.integers(0, 300))), max_size=60
)


@given(written, st.lists(st.integers(0, 4000), max_size=8))
def test_however_a_file_grows_its_points_are_the_same(records: list[bytes], cuts: list[int]) -> None:
    content = b"".join(records)
    bounds = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    pieces = [content[begin:end] for begin, end in itertools.pairwise(bounds)]
    assert decode_all(pieces) == decode_all([content])


@given(written)
def test_reads_what_tensorboard_reads(tmp_path_factory: pytest.TempPathFactory, records: list[bytes]) -> None:
    # TensorBoard takes a file without a version for one of an old writer, and steps that fall back for a restart
    content = record(Event(wall_time=1.0, file_version="brain.Event:2").SerializeToString()) + b"".join(records)
    directory = tmp_path_factory.mktemp("events")
    write_events(directory, content)
    assert decode_all([content]) == {k: v for k, v in tensorboards(directory / "events").items() if v}


def test_reads_what_torch_writes(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_text("note", "words")
        writer.add_histogram("weights", np.arange(10.0), 3)
        for step in range(300):
            writer.add_scalar("plain", step / 7, step)
            writer.add_scalar("new style", step / 9, step, new_style=True)
            writer.add_scalar("precise", step / 9, step, double_precision=True)
    (file,) = (f for f in tmp_path.iterdir() if f.is_file())
    points = decode_all([file.read_bytes()])
    assert {tag: len(found) for tag, found in points.items()} == {"plain": 300, "new style": 300, "precise": 300}
    assert points["new style"][299] == (299, pytest.approx(299 / 9))


def test_what_is_no_number_is_kept_as_it_is() -> None:
    points = decode_all([scalar("loss", 1, math.nan) + scalar("loss", 2, math.inf) + scalar("loss", 3, 1.0)])["loss"]
    assert math.isnan(points[0][1])
    assert points[1:] == [(2, math.inf), (3, 1.0)]


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


@pytest.mark.parametrize(
    ("middle", "steps", "damaged", "problem"),
    [
        pytest.param(flipped(SHORT, 20), [0, 9], 1, None, id="corrupt data is skipped"),
        pytest.param(flipped(SHORT, len(SHORT) - 1), [0, 9], 1, None, id="corrupt checksum of data is skipped"),
        pytest.param(flipped(SHORT, 0), [0], 0, "corrupt record length", id="nothing is read after a corrupt length"),
        pytest.param(flipped(SHORT, 7), [0], 0, "corrupt record length", id="a giant length is no reason to wait"),
        pytest.param(b"\0" * 4096, [0], 0, "corrupt record length", id="zeros of a machine that lost power"),
        pytest.param(record(b"no event at all"), [0, 9], 1, None, id="a record that is no event"),
        pytest.param(record(b""), [0, 9], 0, None, id="an empty event"),
        pytest.param(
            record(
                Event(
                    step=1, summary=Summary(value=[Summary.Value(tag="h", histo=HistogramProto(min=1.0))])
                ).SerializeToString()
            ),
            [0, 9],
            0,
            None,
            id="a histogram",
        ),
    ],
)
def test_what_is_broken_is_told_and_the_rest_read(
    middle: bytes, steps: list[int], damaged: int, problem: str | None
) -> None:
    chunk: Chunk = EventDecoder().decode(scalar("loss", 0, 1.0) + middle + scalar("loss", 9, 1.0))
    (part,) = chunk.parts
    assert part.points["loss"]["step"].tolist() == steps
    assert (chunk.damaged, chunk.problem) == (damaged, problem)


@pytest.mark.parametrize("kept", range(1, len(SHORT)))
def test_a_half_written_record_is_waited_for(kept: int) -> None:
    chunk = EventDecoder().decode(SHORT + SHORT[:kept])
    assert (chunk.consumed, chunk.problem, chunk.damaged) == (len(SHORT), None, 0)


@given(st.binary(max_size=300))
def test_any_bytes_do_no_harm(content: bytes) -> None:
    assert EventDecoder().decode(content).consumed <= len(content)


@given(st.binary(max_size=60).map(record))
def test_any_record_does_no_harm(content: bytes) -> None:
    assert EventDecoder().decode(content + SHORT).parts[-1].points["loss"]["step"].tolist()[-1] == 1
