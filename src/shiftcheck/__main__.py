"""``python -m shiftcheck``."""

import sys

from shiftcheck.cli import main

sys.exit(main())
