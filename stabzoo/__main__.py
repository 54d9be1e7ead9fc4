"""``python -m stabzoo``."""

import sys

from stabzoo.cli import main

if __name__ == "__main__":
    sys.exit(main())
