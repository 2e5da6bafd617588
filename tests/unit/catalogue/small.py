"""A model as small as a model can be: what the catalogue reads of one, for tests that compute nothing."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

from app.catalogue.catalogue import Entry, Source

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "num_key_value_heads": 1,
    "vocab_size": 32,
    "max_position_embeddings": 2048,
}
NUMBERS = 6000


def write_model(folder: Path, **config: Any) -> Path:
    """Write one of this configuration; its weights are one tensor of 24,000 bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | config))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "<|im_start|>"}))
    write_weights(folder / "model.safetensors")
    return folder


def write_weights(path: Path, numbers: int = NUMBERS) -> None:
    tensor = {"dtype": "F32", "shape": [numbers], "data_offsets": [0, 4 * numbers]}
    header = json.dumps({"w": tensor}).encode()
    content = array("f", range(numbers)).tobytes()
    path.write_bytes(len(header).to_bytes(8, "little") + header + content)


def entry_from(source: Source, **changed: Any) -> Entry:
    """The model's entry."""
    fields: dict[str, Any] = {
        "id": "small",
        "revision": "r1",
        "license": "MIT",
        "template": "chatml",
        "context_length": 2048,
        "parameters": NUMBERS,
        "bytes": 4 * NUMBERS,
        "layers": 2,
        "hidden_size": 8,
        "intermediate_size": 16,
        "heads": 2,
        "key_value_heads": 1,
        "vocabulary": 32,
    }
    return Entry(source=source, **fields | changed)
