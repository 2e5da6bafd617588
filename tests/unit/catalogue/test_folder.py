"""Models in a folder of the machine: used as they are, and refused when they are not what they should be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from app.catalogue.adding import as_toml, entry_of_folder
from app.catalogue.at_hand import check_model, ensure_model
from app.catalogue.catalogue import Folder, read_catalogue
from app.catalogue.files import ModelError, manifest_of
from app.catalogue.shape import parameters_of, shape_of, template_of
from tests.unit.catalogue.small import NUMBERS, entry_from, write_model, write_weights


def test_a_folder_is_used_as_it_is(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    (folder / "pytorch_model.bin").write_text("beside safetensors it does no harm: nothing reads it")
    entry = entry_from(Folder(str(folder)))
    before = sorted(folder.iterdir())
    assert ensure_model(tmp_path / "cache", entry) == folder == ensure_model(tmp_path / "cache", entry)
    assert sorted(folder.iterdir()) == before
    assert (template_of(folder), parameters_of(folder), shape_of(folder).layers) == ("chatml", NUMBERS, 2)


@pytest.mark.parametrize("harm", ["a byte changed", "a file gone", "a file more"])
def test_a_folder_that_changed_is_another_revision(tmp_path: Path, harm: str) -> None:
    folder = write_model(tmp_path / "mine")
    entry = entry_from(Folder(str(folder)))
    ensure_model(tmp_path / "cache", entry)
    match harm:
        case "a byte changed":
            with (folder / "model.safetensors").open("r+b") as file:
                file.seek(-1, 2)
                file.write(b"\x01")
        case "a file gone":
            (folder / "tokenizer_config.json").unlink()
        case "a file more":
            (folder / "generation_config.json").write_text("{}")
    with pytest.raises(ModelError, match="other files are another revision") as refused:
        ensure_model(tmp_path / "cache", entry)
    assert refused.value.code == "model_unreadable"
    ensure_model(tmp_path / "cache", entry_from(Folder(str(folder)), revision="r2"))


def test_files_that_only_look_older_are_the_same(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    entry = entry_from(Folder(str(folder)))
    ensure_model(tmp_path / "cache", entry)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes())
    assert ensure_model(tmp_path / "cache", entry) == folder


def test_a_folder_is_held_to_the_digest_of_its_entry_on_every_machine(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    digest = manifest_of(folder, "small", "r1").digest
    for cache in ("one", "other"):
        ensure_model(tmp_path / cache, entry_from(Folder(str(folder), digest)))
    with pytest.raises(ModelError, match=f"their digest is {digest}"):
        ensure_model(tmp_path / "third", entry_from(Folder(str(folder), "0" * 64)))


def test_files_that_are_not_those_of_the_entry_are_refused_field_by_field(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine", num_hidden_layers=3, max_position_embeddings=1024)
    with pytest.raises(
        ModelError, match=r"layers is 2 in the catalogue and 3.*context_length is 2048.*has 1024"
    ):
        ensure_model(tmp_path, entry_from(Folder(str(folder))))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("nothing there", r"there is no config\.json"),
        ("code", "auto_map"),
        ("tokenizer's code", "auto_map"),
        ("pickles", "pickles, which run code"),
        ("no weights", r"no file ends with \.safetensors"),
        ("torn weights", "cut off"),
        ("nonsense", "no safetensors file"),
        ("a shard missing", r"model-00002-of-00002\.safetensors"),
        ("an adapter", "holds an adapter"),
        ("no language model", "no causal language model"),
        ("no tokenizer", r"no tokenizer\.json"),
        ("torn config", "not JSON"),
    ],
)
def test_what_is_no_model_of_safetensors_alone_is_refused(tmp_path: Path, harm: str, said: str) -> None:
    folder = write_model(tmp_path / "mine")
    weights = folder / "model.safetensors"
    match harm:
        case "nothing there":
            (folder / "config.json").unlink()
        case "code":
            write_model(folder, auto_map={"AutoModelForCausalLM": "modeling.Own"})
        case "tokenizer's code":
            (folder / "tokenizer_config.json").write_text('{"auto_map": {}}')
        case "pickles":
            weights.rename(folder / "pytorch_model.bin")
        case "no weights":
            weights.unlink()
        case "torn weights":
            weights.write_bytes(weights.read_bytes()[:-1])
        case "nonsense":
            weights.write_bytes(b"\xff" * 100)
        case "a shard missing":
            shard = "model-00001-of-00002.safetensors"
            weights.rename(folder / shard)
            index = {"weight_map": {"a": shard, "b": "model-00002-of-00002.safetensors"}}
            (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        case "an adapter":
            (folder / "adapter_config.json").write_text("{}")
        case "no language model":
            write_model(folder, architectures=["BertModel"])
        case "no tokenizer":
            (folder / "tokenizer.json").unlink()
        case "torn config":
            (folder / "config.json").write_text('{"a": ')
    with pytest.raises(ModelError, match=said) as refused:
        ensure_model(tmp_path / "cache", entry_from(Folder(str(folder))))
    assert refused.value.code == "model_unreadable"
    assert not refused.value.retryable


def test_the_entry_of_a_folder_holds_it_to_its_files(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "My Model")
    entry = entry_of_folder(folder)
    [read] = read_catalogue(as_toml(entry)).values()
    assert (read, entry.id) == (entry, "my-model")
    assert entry == replace(
        entry_from(entry.source), id="my-model", revision=entry.revision, license="unknown", bytes=entry.bytes
    )
    assert check_model(tmp_path / "cache", entry) is None
    with (folder / "model.safetensors").open("r+b") as file:
        file.write(b"\x01")
    found = check_model(tmp_path / "cache", entry)
    assert found is not None
    assert found.wrong


def test_a_template_may_be_of_its_own_kind_or_not_there(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert template_of(folder) == "own"
    (folder / "chat_template.jinja").unlink()
    (folder / "tokenizer_config.json").unlink()
    assert template_of(folder) == "none"
    write_weights(folder / "model-00001-of-00002.safetensors")
    assert parameters_of(folder) == 2 * NUMBERS
