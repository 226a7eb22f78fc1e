"""`python -m engines.build_engine`: `dualtalker engine build` from the checkout."""

import sys

from dualtalker.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["engine", "build", *sys.argv[1:]]))
