"""`python -m dualtalker` and the installed command: `dualtalker.cli`, where its packages are."""

import sys

# What the command and its pictures need beside the core (COMFORT in setup.py): module, package.
_PACKAGES = {
    "matplotlib": "matplotlib",
    "PIL": "pillow",
    "soundfile": "soundfile",
    "tqdm": "tqdm",
    "tyro": "tyro",
}


def main() -> int:
    """Run the command; return its status, 2 where a package that it needs is missing."""
    try:
        from dualtalker.cli.main import main as run

        return run()
    except ModuleNotFoundError as error:
        package = _PACKAGES.get(error.name or "")
        if package is None:
            raise
        print(
            f"dualtalker: error: this needs the package {package} ({error}); install it: "
            f"python -m pip install {package}",
            file=sys.stderr,
        )
        return 2


if __name__ == "__main__":
    sys.exit(main())
