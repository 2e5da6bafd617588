"""Models of a hub, fetched by a real process from a server on loopback that speaks the hub's protocol."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from app.catalogue import at_hand
from app.catalogue.adding import as_toml, entry_of_repository
from app.catalogue.catalogue import Entry, read_catalogue
from app.catalogue.catalogue import Hub as Source
from app.catalogue.fetching import CHUNK, Wanted, fetch
from app.catalogue.files import Abandoned, ModelError
from app.catalogue.hub import Access
from tests.hub import Hub, hub
from tests.unit.catalogue.small import entry_from, write_model, write_weights

REPOSITORY, WEIGHTS = "someone/small", "model.safetensors"


@pytest.fixture
def there() -> Iterator[Hub]:
    with hub() as told:
        yield told


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """What the repository holds, things that nobody wants among it."""
    folder = write_model(tmp_path / "origin")
    for name in ("pytorch_model.bin", "modeling.py", "README.md", "consolidated.safetensors"):
        (folder / name).write_text("not wanted")
    return folder


def at(commit: str, **changed: Any) -> Entry:
    return entry_from(Source(REPOSITORY, commit), **{"revision": commit} | changed)


def ensure(tmp_path: Path, there: Hub, entry: Entry, token: str | None = None, **given: Any) -> Path:
    access = Access(there.url, token, patience=given.pop("patience", 60.0))
    return at_hand.ensure_model(tmp_path / "cache", entry, access=access, **given)


def same(folder: Path, origin: Path) -> bool:
    names = ("config.json", "tokenizer.json", "tokenizer_config.json", WEIGHTS)
    return all((folder / name).read_bytes() == (origin / name).read_bytes() for name in names)


def test_a_model_is_fetched_once_for_all_who_ask_and_nothing_but_what_it_is_made_of(
    there: Hub, origin: Path, tmp_path: Path
) -> None:
    entry, told = at(there.add(REPOSITORY, origin, "a-token")), list[str]()

    def ask(_: int) -> Path:
        return ensure(tmp_path, there, entry, "a-token", on_progress=told.append)

    with ThreadPoolExecutor(3) as threads:
        [folder] = set(threads.map(ask, range(3)))
    assert folder == at_hand.model_folder(tmp_path / "cache", entry)
    assert same(folder, origin)
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "tunesmith.json",
        WEIGHTS,
    }
    assert there.gets[WEIGHTS] == 1
    assert there.tokens_elsewhere == []
    assert any(one.endswith("fetched (100%)") for one in told)
    there.down = True
    assert ask(0) == folder


def test_a_connection_that_breaks_off_and_a_process_that_is_ended_go_on_where_they_were(
    there: Hub, origin: Path, tmp_path: Path
) -> None:
    write_weights(origin / WEIGHTS, 2_000_000)
    entry, size = at(there.add(REPOSITORY, origin)), (origin / WEIGHTS).stat().st_size
    there.ends_at = 3 * CHUNK
    abandoned = threading.Event()

    def ask() -> None:
        with pytest.raises(Abandoned):
            ensure(tmp_path, there, entry, abandoned=abandoned.is_set)

    asking = threading.Thread(target=ask)
    asking.start()
    partial = at_hand.model_folder(tmp_path / "cache", entry).with_suffix(".part") / f"{WEIGHTS}.partial"
    while not partial.exists() or partial.stat().st_size < there.ends_at:
        time.sleep(0.02)
    abandoned.set()
    asking.join()
    there.sent[WEIGHTS], there.ends_at = 0, None
    there.cut_after, there.cuts = 2 * CHUNK, 1  # and once more on the way
    assert same(ensure(tmp_path, there, entry), origin)
    assert there.sent[WEIGHTS] == size - 3 * CHUNK
    assert list((tmp_path / "cache").rglob("*.part*")) == []


def test_a_file_that_was_damaged_is_fetched_again_and_the_others_are_not(
    there: Hub, origin: Path, tmp_path: Path
) -> None:
    entry = at(there.add(REPOSITORY, origin))
    folder = ensure(tmp_path, there, entry)
    with (folder / WEIGHTS).open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"oops")
    assert same(ensure(tmp_path, there, entry), origin)
    assert (there.gets[WEIGHTS], there.gets["tokenizer.json"]) == (2, 1)
    (folder / "tunesmith.json").unlink()  # then nobody knows what should be there
    assert same(ensure(tmp_path, there, entry), origin)
    assert there.gets[WEIGHTS] == 2


def test_bytes_that_came_wrong_are_fetched_once_more_and_then_refused(
    there: Hub, origin: Path, tmp_path: Path
) -> None:
    entry = at(there.add(REPOSITORY, origin))
    there.spoils[WEIGHTS] = 1
    assert same(ensure(tmp_path, there, entry), origin)
    shutil.rmtree(tmp_path / "cache")
    there.spoils["tokenizer.json"] = 2
    with pytest.raises(ModelError, match="came twice with other bytes") as refused:
        ensure(tmp_path, there, entry)
    assert refused.value.code == "model_unreadable"
    assert not at_hand.model_folder(tmp_path / "cache", entry).exists()


def test_what_is_not_the_model_of_its_entry_is_refused_before_its_weights_come(
    there: Hub, origin: Path, tmp_path: Path
) -> None:
    entry = at(there.add(REPOSITORY, origin), layers=5)
    with pytest.raises(ModelError, match="layers is 5 in the catalogue and 2"):
        ensure(tmp_path, there, entry)
    assert there.gets[WEIGHTS] == 0


@pytest.mark.parametrize(
    ("why", "token", "code", "said"),
    [
        ("gated", None, "model_forbidden", "is gated: TUNESMITH_HUB_TOKEN is not set"),
        ("gated", "not-the-one", "model_forbidden", "its account must be granted access"),
        ("no repository", None, "model_not_on_hub", "or set TUNESMITH_HUB_TOKEN if it is private"),
        ("no revision", None, "model_not_on_hub", "has no revision 00000"),
        ("down", None, "hub_unreachable", "cannot be reached: .*503"),
        ("away", None, "hub_unreachable", "cannot be reached"),
        ("disk full", None, "disk_full", "are free"),
    ],
)
def test_what_cannot_be_had_is_told_with_what_to_do(
    there: Hub, origin: Path, tmp_path: Path, why: str, token: str | None, code: str, said: str
) -> None:
    commit = there.add(REPOSITORY, origin, "a-token" if why == "gated" else None)
    wanted = Wanted(there.url, token, REPOSITORY, commit, str(tmp_path), ("*",), patience=0.0)
    match why:
        case "no repository":
            there.repositories.clear()
        case "no revision":
            wanted = replace(wanted, revision="0" * 40)
        case "down":
            there.down = True
        case "away":
            wanted = replace(wanted, endpoint="http://127.0.0.1:9")
        case "disk full":
            there.says[WEIGHTS] = shutil.disk_usage(tmp_path).total
    with pytest.raises(ModelError, match=said) as refused:
        fetch(wanted, lambda _: None)
    assert refused.value.code == code
    assert refused.value.retryable == (code in ("hub_unreachable", "disk_full"))
    assert "not-the-one" not in str(refused.value) + repr(Access(there.url, token))
    assert there.gets[WEIGHTS] == 0


def test_for_an_estimate_no_weights_are_fetched(there: Hub, origin: Path, tmp_path: Path) -> None:
    entry = at(there.add(REPOSITORY, origin))
    folder = at_hand.ensure_tokenizer(tmp_path / "cache", entry, access=Access(there.url))
    assert (folder / "tokenizer.json").exists()
    assert there.gets[WEIGHTS] == 0


def test_the_entry_of_a_repository_is_read_from_its_own_files_at_the_commit_of_now(
    there: Hub, origin: Path, tmp_path: Path
) -> None:
    commit = there.add(REPOSITORY, origin)
    entry = entry_of_repository(Access(there.url), REPOSITORY)
    assert there.sent[WEIGHTS] < 2 * (origin / WEIGHTS).stat().st_size  # a header is enough
    [read] = read_catalogue(as_toml(entry)).values()
    assert read == entry
    assert entry == replace(at(commit), bytes=entry.bytes, license="unknown")
    assert same(ensure(tmp_path, there, entry), origin)
    with pytest.raises(ModelError, match="there is no someone/other"):
        entry_of_repository(Access(there.url), "someone/other")
