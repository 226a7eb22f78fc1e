"""`python -m dualtalker_ros.demo`: what `make demo` runs."""

from dualtalker_ros.demo.demo import main

if __name__ == "__main__":
    raise SystemExit(main())
