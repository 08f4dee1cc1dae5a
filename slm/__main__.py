"""`python -m slm` is `hh-slm`."""

import sys

from .cli import main

sys.exit(main())
