"""The store's fault table, from what really happens: `python -m tests.storage.s3.fault_table` (a minute).

Each cell: what became of the operation, how many requests it took, and how long.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from pathlib import Path

from receipt_counter.errors import UserError
from receipt_counter.storage.manifest import MANIFEST, verify
from receipt_counter.storage.pusher import Pusher
from receipt_counter.storage.sync import Mirror
from tests.storage.s3.conftest import BUCKET, bucket_at, serving
from tests.storage.s3.proxy import FAULTS, Fault, Proxy
from tests.storage.s3.test_objects import OPERATIONS, content, do
from tests.storage.s3.test_sync import CHECKPOINT, write_checkpoint


def one(operation: str, fault: str, proxy: Proxy, direct_url: str) -> str:
    """A cell."""
    url = f"s3://{BUCKET}/{secrets.token_hex(4)}/team"
    direct, through = bucket_at(url, direct_url), bucket_at(url, proxy.url, patience=10.0)
    lasting = fault in ("507 full", "403 denied")
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        method, path = OPERATIONS.get(operation, ("", ""))
        if operation in OPERATIONS:
            direct.put("object", content(5000, 1))
        here, other = Mirror(directory / "here", through), Mirror(directory / "other", through)
        write_checkpoint(here.root)
        if operation == "pull a checkpoint":
            Pusher(Mirror(here.root, direct), here.root / "runs" / "abc").push()
        proxy.requests.clear()
        proxy.plan = [
            Fault(fault, 1000 if lasting else 1 if fault == "slow" else 2, method, path, after=0 if method else 2)
        ]
        began = time.monotonic()
        try:
            if operation in OPERATIONS:
                do(operation, through, directory)
            elif operation == "push a checkpoint":
                Pusher(here, here.root / "runs" / "abc").push()
            else:
                assert other.pull_sealed(other.root / CHECKPOINT)
                assert verify(other.root / CHECKPOINT) is None
            said = "done"
        except UserError:
            whole = (other.root / CHECKPOINT).exists()
            there = direct.read(f"{CHECKPOINT}/{MANIFEST}") is not None and operation == "push a checkpoint"
            said = "HALF-WRITTEN" if whole or there else "error, as before"
        finally:
            proxy.plan = []
        return f"{said}, {len(proxy.requests)} requests, {time.monotonic() - began:.1f} s"


def main() -> None:
    """Print the table."""
    operations = (*OPERATIONS, "push a checkpoint", "pull a checkpoint")
    print("| fault | " + " | ".join(operations) + " |")
    print("|---" * (len(operations) + 1) + "|")
    with (
        tempfile.TemporaryDirectory() as root,
        serving(Path(root)) as server,
        Proxy(server.port) as proxy,
    ):
        for fault in FAULTS:
            print(
                f"| {fault} | " + " | ".join(one(o, fault, proxy, server.url) for o in operations) + " |",
                flush=True,
            )


if __name__ == "__main__":
    main()
