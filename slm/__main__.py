"""`python -m slm` is `hh-slm`."""

import sys

from slm.cli.main import main

sys.exit(main())
