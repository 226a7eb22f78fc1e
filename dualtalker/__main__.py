"""`python -m dualtalker`: the `dualtalker` command."""

from dualtalker.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
