"""The engines by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receipt_counter.errors import UserError, suggestion

if TYPE_CHECKING:  # they load Katib's models, and the command line only wants the names
    from collections.abc import Callable

    from receipt_counter.engines.base import Engine
    from receipt_counter.engines.view import View

LOCAL, KATIB = "local", "katib"
ENGINES = (LOCAL, KATIB)


def make_engine(
    name: str,
    open_view: Callable[[], View],
    *,
    workers: int | None = None,
    delete_on_stop: bool = False,
    delete_when_done: bool = False,
) -> Engine:
    """An engine that runs trials on this machine, or on a cluster.

    Args:
        name: one of ENGINES.
        open_view: makes what shows the sweep.
        workers: of the local engine, see `LocalEngine`.
        delete_on_stop: of the Katib engine, see `KatibEngine`.
        delete_when_done: of the Katib engine too.

    Raises:
        UserError: there is no such engine, or it has no use for something that is given.
    """
    if name not in ENGINES:
        raise UserError(f"engine: {name!r}: no such engine; {suggestion(name, ENGINES)}")
    if name == LOCAL:
        from receipt_counter.engines.local.engine import LocalEngine

        for option, given in (("--delete-on-stop", delete_on_stop), ("--delete-when-done", delete_when_done)):
            if given:
                raise UserError(f"{option}: is for --engine katib; here nothing outlives the command")
        return LocalEngine(workers, open_view=open_view)
    from receipt_counter.engines.katib.engine import KatibEngine

    if workers is not None:
        raise UserError(
            "--workers: has no effect with --engine katib; spec.parallelTrialCount says how many trials run at a time"
        )
    return KatibEngine(open_view=open_view, delete_on_stop=delete_on_stop, delete_when_done=delete_when_done)
