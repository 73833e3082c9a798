"""A trial module for the preloaded server: does what its first argument says."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path


def main(argv: list[str]) -> int:
    action = argv[0]
    print(f"threads={threading.active_count()}")
    print(f"trial={os.environ.get('RECEIPT_COUNTER_TRIAL')} directory={os.getcwd()} argv={sys.argv[1:]}")
    if action == "print":
        print(f"loss={argv[1]}")
    elif action == "torch":
        import torch

        print(f"sum={float((torch.ones(1000, 1000) @ torch.eye(1000)).sum())} threads={torch.get_num_threads()}")
        print(f"computed={time.process_time()}")
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
    elif action == "sleep-once":
        flag = Path(argv[1])
        if not flag.exists():
            flag.touch()
            subprocess.Popen(["sleep", "61.5"])
            time.sleep(60)
        print("loss=1")
    return 0
