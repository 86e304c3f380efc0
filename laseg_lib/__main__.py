"""``python -m laseg_lib`` is ``laseg``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
