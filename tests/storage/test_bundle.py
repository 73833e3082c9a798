"""A dataset's pictures that arrive as one file are unpacked below their directory, and nowhere else."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from receipt_counter.errors import UserError
from receipt_counter.storage.sync import _unpack


def bundle(directory: Path, *members: tarfile.TarInfo) -> Path:
    path = directory / "images.tar"
    with tarfile.open(path, "w") as archive:
        for member in members:
            member.size = 3 if member.isreg() else 0
            archive.addfile(member, io.BytesIO(b"jpg"))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    return found


def test_pictures_are_unpacked_and_the_bundle_goes(tmp_path: Path) -> None:
    _unpack(bundle(tmp_path, member("images/train/1.jpg"), member("images/val/2.jpg")), tmp_path)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")) == [
        "images/train/1.jpg",
        "images/val/2.jpg",
    ]
    assert (tmp_path / "images/val/2.jpg").read_bytes() == b"jpg"


@pytest.mark.parametrize(
    "hostile",
    [
        member("../outside.jpg"),
        member("/outside.jpg"),
        member("images/link.jpg", tarfile.SYMTYPE, "../../outside.jpg"),
        member("images/hard.jpg", tarfile.LNKTYPE, "../outside.jpg"),
        member("images/pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda found: found.name,
)
def test_what_leads_elsewhere_is_refused(hostile: tarfile.TarInfo, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "outside.jpg").write_bytes(b"mine")
    with pytest.raises(UserError, match="cannot be unpacked"):
        _unpack(bundle(inside, hostile), inside)
    assert (tmp_path / "outside.jpg").read_bytes() == b"mine"
