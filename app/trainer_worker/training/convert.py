"""A GGUF file as a folder that loads in under a second: bf16 safetensors and the tokenizer.

`python -m app.trainer_worker.training.convert GGUF FOLDER` writes a line of JSON to stdout at each stage:
`{"done": share, "stage": words}`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from app.trainer_worker.training.environment import die_with_parent, prepare

# What every reader of the folder needs to be told, and the library's version, which would change the bytes.
UNSAID = ("_name_or_path", "transformers_version")


def convert(weights: Path, folder: Path) -> None:
    """Write model and tokenizer to `folder`, which must not exist. Half a minute for 135M parameters."""
    _tell(0.0, "importing torch and transformers")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _tell(0.2, "reading the tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name)
    _tell(0.45, "reading the weights")
    model: Any = AutoModelForCausalLM.from_pretrained(
        weights.parent, gguf_file=weights.name, dtype=torch.float32
    )
    # What transformers remembers of the GGUF would make it refuse to save.
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    _tell(0.95, "writing bf16 safetensors")
    model.to(torch.bfloat16)
    folder.mkdir(parents=True)
    model.save_pretrained(folder)
    tokenizer.model_max_length = model.config.max_position_embeddings
    tokenizer.save_pretrained(folder)
    for name in ("config.json", "generation_config.json"):
        _forget(folder / name)
    _sync(folder)
    _tell(1.0, "converted")


def _forget(path: Path) -> None:
    """Leave out what only says where and by which version the file was written."""
    if path.exists():
        document = {key: value for key, value in json.loads(path.read_text()).items() if key not in UNSAID}
        path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")


def _sync(folder: Path) -> None:
    """Have everything on disk before the folder gets its name."""
    for path in [*sorted(folder.iterdir()), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _tell(done: float, stage: str) -> None:
    sys.stdout.write(json.dumps({"done": done, "stage": stage}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    die_with_parent()
    prepare()
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
