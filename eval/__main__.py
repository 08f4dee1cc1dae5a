"""`python -m eval`: the same commands as the console script `hh-eval`."""

from __future__ import annotations

import sys

from eval.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
