"""``python -m laseg_lib.records RECORD`` makes the runs of a record that are missing."""

import sys

from .make import main

if __name__ == "__main__":
    sys.exit(main())
