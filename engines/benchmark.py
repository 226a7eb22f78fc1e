"""`python -m engines.benchmark`: see `dualtalker.engine.benchmark`."""

from dualtalker.engine.benchmark import main

if __name__ == "__main__":
    main()
