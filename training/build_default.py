"""Makes the shipped model from its data: corpora, teacher, training, gains, figures, export.

    python -m training.build_default DATA --out runs/build_default
    python -m training.build_default DATA --dry-run      # print the commands alone

DATA holds `motion/{facegood,grid}` and
`speech/{labelled,ljspeech,vctk,librivox,facegood_unpaired}` (see docs/model_card.md). Each stage
is a command of this repository and leaves a record; running this again skips what is done and
goes on inside a training that was interrupted, unless its command or its data changed: then it
begins anew. `manifest.json` names the digest of everything that went in and came out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from dualtalker.errors import DualtalkerError
from dualtalker.files import claim_folder, ending_in_order, write_whole
from training.building import FOLDERS, MODEL_NAME, BuildConfig, BuildError, plan_stages, run_stage
from training.learning import find_commit

MANIFEST_NAME = "manifest.json"


def check_data(data: Path) -> None:
    """Raise BuildError where a folder of recordings is missing."""
    missing = [name for name in FOLDERS if not (data / name).is_dir()]
    if missing:
        raise BuildError(
            f"{data} lacks {', '.join(missing)}; expected the recordings that docs/model_card.md "
            "names, one folder each"
        )


def build(config: BuildConfig) -> Path | None:
    """Run all stages and write the manifest; return the model's path, or None of a dry run.

    Raises:
        BuildError: data is missing or a stage failed.
    """
    stages = plan_stages(config)
    if config.dry_run:
        print("\n".join(stage.describe() for stage in stages))
        return None
    check_data(config.data)
    claim_folder(config.out, "stages/*.json")
    records = {stage.name: run_stage(stage, config.out / "stages") for stage in stages}
    manifest = {"commit": find_commit(), "stages": records}
    path = config.out / MANIFEST_NAME
    write_whole(path, json.dumps(manifest, indent=1) + "\n")
    return config.out / MODEL_NAME


@ending_in_order()
def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and build."""
    config = tyro.cli(BuildConfig, description=__doc__, args=arguments)
    try:
        model = build(config)
    except DualtalkerError as error:
        sys.exit(f"training.build_default: {error}")
    if model is not None:
        print(f"model: {model}; what went into it: {config.out / MANIFEST_NAME}")


if __name__ == "__main__":
    main()
