"""`python -m engines.convert`: see `dualtalker.engine.convert`."""

from dualtalker.engine.convert import main

if __name__ == "__main__":
    main()
