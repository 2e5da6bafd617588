"""Stands in for the converter, which needs torch and half a minute: a small folder, or a failure."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(weights: Path, folder: Path) -> None:
    told = weights.read_text()
    with weights.with_name("conversions").open("a") as log:
        log.write("one\n")
    sys.stdout.write(json.dumps({"done": 0.5, "stage": "reading the weights"}) + "\n")
    sys.stdout.flush()
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    if "fails" in told:
        sys.exit("ValueError: these are no weights")
    (folder / "model.safetensors").write_text(told)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
