"""`python -m codec` is `hh-codec`."""

import sys

from .cli import main

sys.exit(main())
