"""The pipelines' step that shows a study while it runs; apart, because on one machine it must cost nothing."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from receipt_counter.errors import UserError
from receipt_counter.steps import PIPELINE_POD

if TYPE_CHECKING:
    from receipt_counter.katib.experiment import StudyDocument

SECONDS_TO_BEGIN = 120.0  # that a study may take until its Experiment is there: the sweep's image may have to be pulled


def show_study(config: str, experiment: str, store: str) -> str:
    """Make a study's TensorBoard where a pipeline's pod calls it; elsewhere say how to start one.

    A TensorBoard that cannot be made keeps no study from running.

    Args:
        config: the resolved config, as YAML.
        experiment: the study's Experiment and its ConfigMaps, as YAML.
        store: where runs live.

    Returns:
        A page about it, as Markdown.
    """
    if PIPELINE_POD not in os.environ:
        return f"# TensorBoard\n\n`receipt-counter tensorboard --store {store}` shows the runs of {store}.\n"
    from receipt_counter.cluster.connection import PATIENT, Connection
    from receipt_counter.cluster.objects import Objects
    from receipt_counter.cluster.tensorboard import TensorBoards, reach
    from receipt_counter.config.loading import parse_config
    from receipt_counter.engines.base import name_of
    from receipt_counter.engines.katib.submission import submitted
    from receipt_counter.study.documents import parse_document

    document, cluster = parse_document(experiment), parse_config(config).cluster
    study = name_of(submitted(document).experiment)
    try:
        boards = TensorBoards(Objects(Connection(time.sleep, PATIENT), cluster.namespace), cluster)
        made = boards.make(study)
    except UserError as error:
        return f"# TensorBoard\n\nnone was made for {study}:\n\n{_quoted(error)}"
    where = reach(made, cluster.namespace)
    page = f"# TensorBoard\n\n{f'[{study}]({made.link})' if made.link else where}\n"
    try:
        _record(store, document, made.link, where)
    except UserError as error:
        page += f"\nthe study's report does not name it:\n\n{_quoted(error)}"
    try:
        if not boards.own(study, SECONDS_TO_BEGIN):
            page += f"\nThere is no Experiment {study}, so it is not deleted with one.\n"
    except UserError as error:
        page += f"\nit is not deleted with its Experiment:\n\n{_quoted(error)}"
    return page


def _record(store: str, document: StudyDocument, link: str | None, where: str) -> None:
    """Leave with the study where its TensorBoard is, for its report."""
    from receipt_counter.katib.identity import study_id
    from receipt_counter.storage.files import write_json
    from receipt_counter.storage.labels import BOARD
    from receipt_counter.storage.pusher import push
    from receipt_counter.storage.store import open_store

    file = open_store(store).studies / study_id(document) / BOARD
    write_json(file, {"link": link, "where": where})
    push(file)


def _quoted(error: UserError) -> str:
    return "".join(f"> {line}\n" for line in error.message.splitlines())
