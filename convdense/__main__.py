"""python -m convdense: the command line."""

import sys

from convdense.cli._main import main

if __name__ == "__main__":
    sys.exit(main())
