"""`python -m engines.build_engine`: see `dualtalker.engine.build_engine`."""

from dualtalker.engine.build_engine import main

if __name__ == "__main__":
    main()
