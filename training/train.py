"""The training loop: `python -m training.train [default|arkit|vocaset|biwi] --out runs/mine`.

Reads folders of clips (`python -m training.corpus` and `training.prepare` make them), trains both
tasks jointly and leaves checkpoints that `python -m engines.export_onnx` turns into a model
bundle. The same seed, data and machine give the same weights, also when interrupted and continued
with `--resume`, and whatever the number of processes (`torchrun`, see
training/learning/distributed.py).
"""

from __future__ import annotations

import sys

from dualtalker.errors import DualtalkerError
from dualtalker.files import ending_in_order
from training.learning import find_place, parse_config, train


@ending_in_order()
def main() -> None:
    """Parse the command line and train."""
    config = parse_config(sys.argv[1:], __doc__ or "")
    try:
        path = train(config)
    except (DualtalkerError, ValueError) as error:
        sys.exit(f"training.train: {error}")
    if find_place().leads:
        print(f"trained: {path}\nnext: python -m engines.export_onnx {path} --out NAME.onnx")


if __name__ == "__main__":
    main()
