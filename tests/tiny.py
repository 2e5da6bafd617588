"""A model of two small layers with random weights: it says nothing, but learns, in a hundredth of the time.

Its tokenizer and its chat template are those of the packaged model.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy
import pytest
from msgspec.structs import replace
from safetensors.numpy import save_file

from app.catalogue.at_hand import ensure_model
from app.catalogue.catalogue import CATALOGUE, Entry, Folder

LIKE = CATALOGUE["smollm2-135m-instruct"]
LAYERS, HIDDEN, INNER, HEADS, NARROW = 2, 64, 128, 4, 32
OF_TOKENIZER = ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json", "generation_config.json")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Entry:
    """The model as the catalogue would have it; its folder is its source."""
    like, folder = ensure_model(cache_dir, LIKE), tmp_path_factory.mktemp("tiny")
    for name in OF_TOKENIZER:
        shutil.copy(like / name, folder)
    config = json.loads((like / "config.json").read_text()) | {
        "dtype": "float32",
        "hidden_size": HIDDEN,
        "head_dim": HIDDEN // HEADS,
        "intermediate_size": INNER,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": NARROW * HEADS // HIDDEN,
    }
    (folder / "config.json").write_text(json.dumps(config))
    weights = _weights()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return replace(
        LIKE,
        id="tiny",
        source=Folder(str(folder)),
        revision="random-0",
        parameters=sum(one.size for one in weights.values()),
        bytes=sum(one.nbytes for one in weights.values()),
        layers=LAYERS,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        heads=HEADS,
        key_value_heads=NARROW * HEADS // HIDDEN,
    )


def _weights() -> dict[str, numpy.ndarray]:
    random = numpy.random.default_rng(0)
    shapes = {
        "self_attn.q_proj": (HIDDEN, HIDDEN),
        "self_attn.k_proj": (NARROW, HIDDEN),
        "self_attn.v_proj": (NARROW, HIDDEN),
        "self_attn.o_proj": (HIDDEN, HIDDEN),
        "mlp.gate_proj": (INNER, HIDDEN),
        "mlp.up_proj": (INNER, HIDDEN),
        "mlp.down_proj": (HIDDEN, INNER),
    }

    def drawn(*shape: int) -> numpy.ndarray:
        return random.normal(0, 0.1, shape).astype(numpy.float32)

    weights = {"model.embed_tokens.weight": drawn(LIKE.vocabulary, HIDDEN)}
    weights["model.norm.weight"] = numpy.ones(HIDDEN, numpy.float32)
    for layer in range(LAYERS):
        weights |= {f"model.layers.{layer}.{name}.weight": drawn(*shape) for name, shape in shapes.items()}
        for name in ("input_layernorm", "post_attention_layernorm"):
            weights[f"model.layers.{layer}.{name}.weight"] = numpy.ones(HIDDEN, numpy.float32)
    return weights
