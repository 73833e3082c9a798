"""The names under which TensorBoard shows runs: variant and seed instead of a run's id.

A run may belong to several studies (they share baselines), and one study to several engines and machines, so each study
leaves its name for a run with the run: `events/<study>.label`. It lies beside the event files because that is what is
mirrored from an object store. TensorBoard is given a directory of links with these names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from receipt_counter.storage.files import read_json, write_atomic

STUDY, LABEL = "RECEIPT_COUNTER_STUDY", "RECEIPT_COUNTER_LABEL"  # variables of a trial: what its runs belong to
SEARCH = "RECEIPT_COUNTER_SEARCH"  # of a confirmation's trial: the search that it confirms, which shows its runs too
SUFFIX = ".label"
BOARD = "tensorboard.json"  # in a study's directory: where its TensorBoard is, if a cluster has one
_LONGEST = 200  # bytes of a link's name, of the 255 that file systems take
_ID_SHOWN = 6  # characters of a run's id that tell runs of one name apart


def label_events(events: Path) -> list[Path]:
    """Leave the names that this process's environment has for a run.

    Args:
        events: the run's events directory; it exists.

    Returns:
        The files with the names; none where none is known.
    """
    study, label, search = (os.environ.get(name) for name in (STUDY, LABEL, SEARCH))
    if not (study and label):
        return []
    names = {study: label, **({search: f"confirmation-{label}"} if search else {})}
    files = {events / f"{owner}{SUFFIX}": name for owner, name in names.items()}
    for file, name in files.items():
        write_atomic(file, name)
    return list(files)


def labelled_runs(runs: Path, study: str | None = None) -> dict[str, Path]:
    """The runs of a study by their names in it, or all runs.

    Args:
        runs: parent of the run directories.
        study: its id; None for all: those of studies are named "<study>/<name>".

    Returns:
        {name: events directory}; of runs with one name the newest has it alone.
    """
    named: dict[str, list[Path]] = {}
    for events in sorted(runs.glob("*/events")):
        for name in _names(events, study):
            named.setdefault(name, []).append(events)
    found = {}
    for name, directories in named.items():
        *older, newest = sorted(directories, key=lambda events: events.stat().st_mtime)
        found[name] = newest
        found.update({f"{name} {events.parent.name[:_ID_SHOWN]}": events for events in older})
    return found


def _names(events: Path, study: str | None) -> Iterator[str]:
    labels = sorted(events.glob(f"*{SUFFIX}"))
    for file in labels:
        if study in (None, file.name.removesuffix(SUFFIX)):
            text = file.read_text(encoding="utf-8").strip().replace("/", "_")[:_LONGEST]
            yield text if study else f"{file.name.removesuffix(SUFFIX)}/{text}"
    if study is None and not labels:
        record = events.parent / "run.json"
        run = read_json(record) if record.exists() else {}
        known = f"{run['experiment_name']}-seed{run['seed']} " if "seed" in run else ""
        yield f"{known}{events.parent.name[:_ID_SHOWN]}".replace("/", "_")


def link_runs(runs: Path, links: Path, study: str | None = None) -> int:
    """Make a directory hold a link to the events of each run, and no others.

    Args:
        runs, study: as for `labelled_runs`.
        links: the directory; made if absent.

    Returns:
        How many there are.
    """
    links.mkdir(parents=True, exist_ok=True)
    wanted = {links / name: events.resolve() for name, events in labelled_runs(runs, study).items()}
    for path in [path for path in links.rglob("*") if path.is_symlink()]:
        if wanted.get(path) != path.readlink():
            path.unlink()
    for path, events in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_symlink():
            path.symlink_to(events, target_is_directory=True)
    return len(wanted)
