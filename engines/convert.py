"""`python -m engines.convert`: `dualtalker engine convert` from the checkout."""

import sys

from dualtalker.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["engine", "convert", *sys.argv[1:]]))
