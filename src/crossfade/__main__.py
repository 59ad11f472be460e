"""``python -m crossfade``."""

import sys

from crossfade.cli import main

sys.exit(main())
