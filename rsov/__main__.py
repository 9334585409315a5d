"""``python -m rsov`` is ``rsov``."""

import sys

from rsov.cli import main

sys.exit(main())
