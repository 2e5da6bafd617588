"""What a model's own files say of it: its shape, its context, its template, its tensors."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from app.catalogue.catalogue import Entry
from app.catalogue.files import WEIGHTS, ModelError

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
INDEX = "model.safetensors.index.json"
LONGEST_HEADER = 100 * 1024**2
HEADER_SIZE = 8  # bytes of a safetensors file that say how long its header is

# What config.json calls it, for each field of an entry that it must agree with.
FIELDS = {
    "layers": "num_hidden_layers",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "heads": "num_attention_heads",
    "key_value_heads": "num_key_value_heads",
    "vocabulary": "vocab_size",
}
CONTEXT = "max_position_embeddings"

# By a mark that only templates of that family write.
FAMILIES = {
    "chatml": "<|im_start|>",
    "llama3": "<|start_header_id|>",
    "gemma": "<start_of_turn>",
    "phi": "<|assistant|>",
    "mistral": "[INST]",
}


class Shape(Struct, frozen=True):
    """What `config.json` says; `context_length` in tokens."""

    layers: int
    hidden_size: int
    intermediate_size: int
    heads: int
    key_value_heads: int
    vocabulary: int
    context_length: int


def shape_of(folder: Path) -> Shape:
    """The shape of the model in a folder. Raises `ModelError`."""
    config = _json(folder / "config.json")
    _no_code(folder, config)
    if not config.get("architectures") or not str(config["architectures"][0]).endswith("ForCausalLM"):
        told = ", ".join(map(str, config.get("architectures") or ["no architecture"]))
        raise ModelError(f"{folder.name} is no causal language model: its config.json says {told}")
    told = config | config.get("text_config", {})
    told.setdefault("num_key_value_heads", told.get("num_attention_heads"))
    wanted = FIELDS | {"context_length": CONTEXT}
    if missing := [name for name in wanted.values() if not isinstance(told.get(name), int)]:
        raise ModelError(f"the config.json of {folder.name} does not say {', '.join(missing)}")
    return Shape(**{field: told[name] for field, name in wanted.items()})


def template_of(folder: Path) -> str:
    """The family of the chat template in a folder: one of `FAMILIES`, `own`, or `none`."""
    text = _template_text(folder)
    if not text:
        return "none"
    return next((family for family, mark in FAMILIES.items() if mark in text), "own")


def check_description(folder: Path, entry: Entry) -> None:
    """Configuration and tokenizer are those of the entry, and bring no code. Raises `ModelError`."""
    found = shape_of(folder)
    wrong = [
        f"{field} is {getattr(entry, field)} in the catalogue and {getattr(found, field)} in config.json"
        for field in FIELDS
        if getattr(entry, field) != getattr(found, field)
    ]
    if entry.context_length > found.context_length:
        wrong.append(f"context_length is {entry.context_length}, but the model has {found.context_length}")
    if wrong:
        raise ModelError(f"{entry.id} is not the model of its entry: {'; '.join(wrong)}")
    if not (folder / "tokenizer.json").is_file():
        raise ModelError(f"{entry.id} has no tokenizer.json; older forms of tokenizers are not read")


def check_weights(folder: Path) -> None:
    """The weights are whole safetensors, every shard there. Raises `ModelError`."""
    shards = {path.name for path in folder.glob(WEIGHTS)}
    if not shards:
        if any(next(folder.glob(pattern), None) for pattern in PICKLES):
            raise ModelError(
                f"{folder.name} has its weights as pickles, which run code when they are read; "
                "save them as safetensors"
            )
        raise ModelError(f"there are no weights in {folder}: no file ends with .safetensors")
    if (folder / INDEX).is_file():
        listed = _json(folder / INDEX).get("weight_map", {})
        if missing := sorted(set(listed.values()) - shards):
            raise ModelError(f"{folder.name} has not all of its weights: {', '.join(missing[:3])}")
    for name in sorted(shards):
        tensors(folder / name)


def parameters_of(folder: Path) -> int:
    """How many numbers the weights of a folder have. Raises `ModelError`."""
    return sum(
        math.prod(tensor["shape"])
        for path in sorted(folder.glob(WEIGHTS))
        for tensor in tensors(path).values()
    )


def tensors(path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file, from its header: dtype, shape and place. Raises `ModelError`."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(HEADER_SIZE), "little")
            header = json.loads(file.read(length)) if length <= LONGEST_HEADER else None
        found = {name: one for name, one in header.items() if name != "__metadata__"}  # type: ignore[union-attr]
        end = max((one["data_offsets"][1] for one in found.values()), default=0)
        whole = path.stat().st_size == HEADER_SIZE + length + end
    except (OSError, ValueError, AttributeError, KeyError, TypeError, IndexError) as error:
        raise ModelError(f"{path.name} is no safetensors file") from error
    if not whole:
        raise ModelError(f"{path.name} is cut off, or has more than its header says")
    return found


def _no_code(folder: Path, config: dict[str, Any]) -> None:
    """A model that needs code of its own is refused, as is an adapter in a model's place."""
    tokenizer = folder / "tokenizer_config.json"
    told = _json(tokenizer) if tokenizer.is_file() else {}
    if "auto_map" in config or "auto_map" in told:
        raise ModelError(f"{folder.name} needs code from its repository (auto_map), which is never run here")
    if (folder / "adapter_config.json").exists():
        raise ModelError(f"{folder.name} holds an adapter; a base model is wanted")


def _template_text(folder: Path) -> str:
    own = folder / "chat_template.jinja"
    if own.is_file():
        return own.read_text(encoding="utf-8")
    config = folder / "tokenizer_config.json"
    told = _json(config).get("chat_template") if config.is_file() else None
    return "\n".join(_texts(told))


def _texts(told: Any) -> Iterator[str]:
    if isinstance(told, str):
        yield told
    elif isinstance(told, list):
        yield from (one["template"] for one in told if isinstance(one, dict) and "template" in one)


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"there is no {path.name} that can be read in {path.parent}") from error
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ModelError(f"{path} is no JSON object")
    return document
