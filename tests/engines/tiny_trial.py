"""A trial module for the preloaded server: does what its first argument says."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time


def main(argv: list[str]) -> int:
    action = argv[0]
    print(f"threads={threading.active_count()}")
    print(f"trial={os.environ.get('RECEIPT_COUNTER_TRIAL')} directory={os.getcwd()} argv={sys.argv[1:]}")
    if action == "print":
        print(f"loss={argv[1]}")
    elif action == "torch":
        import torch

        print(f"sum={float((torch.ones(1000, 1000) @ torch.eye(1000)).sum())} threads={torch.get_num_threads()}")
    elif action == "crash":
        raise RuntimeError("as asked")
    elif action == "abort":
        os.abort()
    elif action == "leave":
        os._exit(7)
    elif action == "exit":
        sys.exit("no more")
    elif action == "sleep":
        subprocess.Popen(["sleep", "61.5"])
        print("asleep", flush=True)
        time.sleep(60)
    return 0
