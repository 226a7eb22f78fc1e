"""`python -m engines.benchmark`: `dualtalker engine benchmark` from the checkout."""

import sys

from dualtalker.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["engine", "benchmark", *sys.argv[1:]]))
