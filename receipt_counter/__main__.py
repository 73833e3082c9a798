"""`python -m receipt_counter` is `receipt-counter`."""

import sys

from receipt_counter.cli import main

if __name__ == "__main__":
    sys.exit(main())
