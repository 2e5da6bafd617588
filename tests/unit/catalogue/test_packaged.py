from __future__ import annotations

import hashlib
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from app.catalogue import packaged
from app.catalogue.at_hand import ensure_model, model_folder
from app.catalogue.catalogue import CATALOGUE, Entry, Package
from app.catalogue.files import MANIFEST, ModelError, read_manifest


@pytest.fixture
def carrier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an installed package that carries weights."""
    monkeypatch.setattr(packaged, "CONVERTER", "tests.unit.catalogue.quick_converter")
    folder = tmp_path / "site" / "carrier_of_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(folder.parent), *sys.path])
    return folder


def entry_of(carrier: Path, content: str = "weights", **changed: Any) -> Entry:
    (carrier / "weights.gguf").write_text(content)
    source = Package(carrier.name, "weights.gguf", hashlib.sha256(content.encode()).hexdigest())
    entry = replace(CATALOGUE["smollm2-135m-instruct"], source=source, revision="r1", bytes=1000)
    return replace(entry, **changed)


def conversions(carrier: Path) -> int:
    log = carrier / "conversions"
    return len(log.read_text().splitlines()) if log.exists() else 0


def left_over(cache: Path) -> list[Path]:
    """What lies beside finished folders and locks."""
    ours = ("r1", "r1.lock", "r1.checked")
    return [path for path in (cache / "models").glob("*/*") if path.name not in ours]


def test_a_packaged_model_is_converted_once(carrier: Path, tmp_path: Path) -> None:
    entry = entry_of(carrier)
    first = ensure_model(tmp_path, entry)
    assert first == model_folder(tmp_path, entry) == ensure_model(tmp_path, entry)
    assert (first / "model.safetensors").read_text() == "weights"
    assert conversions(carrier) == 1
    assert left_over(tmp_path) == []


def test_progress_is_told_while_it_lasts(carrier: Path, tmp_path: Path) -> None:
    told: list[str] = []
    ensure_model(tmp_path, entry_of(carrier), told.append)
    assert told == ["smollm2-135m-instruct: reading the weights (50% of the conversion)"]


def test_those_who_ask_at_once_get_one_conversion(carrier: Path, tmp_path: Path) -> None:
    entry = entry_of(carrier)
    with ThreadPoolExecutor(4) as threads:
        folders = set(threads.map(lambda _: ensure_model(tmp_path, entry), range(4)))
    assert folders == {model_folder(tmp_path, entry)}
    assert conversions(carrier) == 1


def test_the_manifest_names_every_file_and_a_digest_of_all(carrier: Path, tmp_path: Path) -> None:
    folder = ensure_model(tmp_path, entry_of(carrier))
    manifest = read_manifest(folder / MANIFEST)
    assert manifest is not None
    weights = hashlib.sha256(b"weights").hexdigest()
    config = hashlib.sha256(b"{}").hexdigest()
    assert {name: file.sha256 for name, file in manifest.files.items()} == {
        "config.json": config,
        "model.safetensors": weights,
    }
    lines = f"config.json {config}\nmodel.safetensors {weights}\n"
    assert manifest.digest == hashlib.sha256(lines.encode()).hexdigest()


@pytest.mark.parametrize(
    "harm", ["file gone", "file cut", "a byte changed", "manifest gone", "manifest torn"]
)
def test_a_folder_that_is_not_whole_is_made_again(carrier: Path, tmp_path: Path, harm: str) -> None:
    entry = entry_of(carrier)
    folder = ensure_model(tmp_path, entry)
    match harm:
        case "file gone":
            (folder / "config.json").unlink()
        case "file cut":
            (folder / "model.safetensors").write_text("wei")
        case "a byte changed":
            (folder / "model.safetensors").write_text("weightz")
        case "manifest gone":
            (folder / MANIFEST).unlink()
        case "manifest torn":
            (folder / MANIFEST).write_text('{"id": ')
    ensure_model(tmp_path, entry)
    assert read_manifest(folder / MANIFEST) is not None
    assert (folder / "model.safetensors").read_text() == "weights"
    assert conversions(carrier) == 2
    assert left_over(tmp_path) == []


def test_a_conversion_that_fails_leaves_nothing_and_says_why(carrier: Path, tmp_path: Path) -> None:
    entry = entry_of(carrier, "fails")
    with pytest.raises(ModelError, match="could not be converted: ValueError: these are no weights"):
        ensure_model(tmp_path, entry)
    assert not model_folder(tmp_path, entry).exists()
    assert left_over(tmp_path) == []


def test_weights_other_than_those_of_the_catalogue_are_refused(carrier: Path, tmp_path: Path) -> None:
    entry = entry_of(carrier)
    (carrier / "weights.gguf").write_text("other weights")
    with pytest.raises(ModelError, match="reinstall carrier_of_weights"):
        ensure_model(tmp_path, entry)
    assert conversions(carrier) == 0


def test_a_package_that_is_not_installed_is_named(tmp_path: Path) -> None:
    source = Package("no_such_package", "weights.gguf", "00")
    entry = replace(CATALOGUE["smollm2-135m-instruct"], source=source)
    with pytest.raises(ModelError, match="no_such_package is not installed"):
        ensure_model(tmp_path, entry)


def test_a_full_disk_is_told_before_anything_is_written(carrier: Path, tmp_path: Path) -> None:
    entry = entry_of(carrier, bytes=shutil.disk_usage(tmp_path).total)
    with pytest.raises(ModelError, match="free some or set TUNESMITH_CACHE_DIR"):
        ensure_model(tmp_path, entry)
    assert conversions(carrier) == 0


def test_a_cache_that_cannot_be_written_is_told_in_a_sentence(carrier: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.write_text("a file where a folder should be")
    with pytest.raises(ModelError, match="set TUNESMITH_CACHE_DIR"):
        ensure_model(cache, entry_of(carrier))
