"""``python -m geotoolbox`` is ``geotoolbox``."""

import sys

from geotoolbox.cli import main

if __name__ == "__main__":
    sys.exit(main())
