"""`python -m codec` is `hh-codec`."""

import sys

from codec.cli.main import main

sys.exit(main())
