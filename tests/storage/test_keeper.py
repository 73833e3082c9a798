"""What the keeper links of checkpoints that training removes meanwhile."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from receipt_counter.storage.keeper import _linked
from receipt_counter.storage.manifest import MANIFEST


@pytest.mark.parametrize("removed", [True, False])
def test_a_checkpoint_that_goes_while_it_is_linked_is_left_out(
    removed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "step-1"
    checkpoint.mkdir()
    for name in ("engine.pt", "state.json", MANIFEST):
        (checkpoint / name).write_text(name)
    link = os.link

    def interrupted(source: str, target: str) -> None:
        if removed and checkpoint.exists():  # as training does it: the manifest first
            (checkpoint / MANIFEST).unlink()
            shutil.rmtree(checkpoint)
        link(source, target)

    monkeypatch.setattr("receipt_counter.storage.keeper.os.link", interrupted)
    with _linked(checkpoint, tmp_path / ".sending") as staged:
        assert (staged is None) == removed
    assert not list((tmp_path / ".sending").glob("*"))
