"""What was released is written byte for byte as it was, and read for ever."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from app.domain.decider import Decider
from app.domain.files import Uploaded
from app.domain.streams import STREAMS
from app.log.codec import CHAINED, FIRST_CHAIN, chain_hash, read_event
from app.log.upcasters import UPCASTERS
from tests.contract import examples
from tests.contract.golden import FOLDER, kept, record_of, text_of

WRITTEN = examples.events() | examples.others()
OF_STREAM = {name: decider for decider in STREAMS.values() for name in decider.events}
EVENTS = sorted(FOLDER.glob("tunesmith.*.txt"), key=lambda path: path.name)


def decider_of(name: str) -> Decider:
    upcast = UPCASTERS.get(name)
    return OF_STREAM[name] if upcast is None else decider_of(upcast.becomes)


def test_every_event_of_every_stream_has_an_example_and_its_bytes() -> None:
    assert OF_STREAM.keys() - examples.events().keys() == set(), "give it an example in examples.py"
    assert [name for name in WRITTEN if not kept(name)] == [], "run `python -m tests.contract.golden`"
    assert [name for name in UPCASTERS if not kept(name)] == [], "the bytes of an older schema were lost"


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_today_are_the_newest_bytes(name: str) -> None:
    assert text_of(WRITTEN[name]) == kept(name)[-1].read_bytes()


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_what_was_ever_released_is_read(path: Path) -> None:
    name = path.stem.rpartition(".")[0]
    event = read_event(decider_of(name), record_of(path.read_bytes()))
    assert event.type == name
    assert type(event.body) in decider_of(name).events.values()


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_its_chain_is_over_the_bytes_that_were_written(path: Path) -> None:
    received = record_of(path.read_bytes())
    assert {key for key, _ in received.headers} == {*CHAINED, "ce_chain", "content-type"}
    if received.header("ce_sequence") == "1":
        hashed = chain_hash(FIRST_CHAIN, received.headers, received.value or b"")
        assert received.header("ce_chain") == hashed


def test_an_upload_of_before_places_in_the_store_is_where_it_lay_then() -> None:
    old = record_of(kept("tunesmith.file.uploaded.v1")[0].read_bytes())
    assert b"key" not in (old.value or b"")
    event = read_event(STREAMS["files"], old)
    assert isinstance(event.body, Uploaded)
    assert event.body.key == f"files/{examples.FILE}"
    today = msgspec.structs.replace(event.body, key="files/a")
    assert today == examples.LIVES["file"][2][0]
