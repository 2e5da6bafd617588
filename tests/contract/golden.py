"""The very bytes of a record, in a file that people can read: key, headers, an empty line, the value.

    python -m tests.contract.golden

writes a file for everything that is written otherwise than its newest file says: what is new, or has a new
field with a default. It changes none: what was released is read for ever.
"""

from __future__ import annotations

from pathlib import Path

from app.log.port import Partition, Received, Record
from tests.contract import examples

FOLDER = Path(__file__).parent / "golden"


def text_of(record: Record) -> bytes:
    """A record as its file."""
    head = [b"topic: " + record.topic.encode(), b"key: " + (record.key or "").encode()]
    head += [name.encode() + b": " + value for name, value in record.headers]
    return b"\n".join(head) + b"\n\n" + (record.value or b"") + b"\n"


def record_of(text: bytes) -> Received:
    """The record in a file, as it is read off the log."""
    head, _, value = text.partition(b"\n\n")
    (_, topic), (_, key), *headers = [line.split(b": ", 1) for line in head.split(b"\n")]
    return Received(
        Partition(topic.decode(), 0),
        0,
        examples.AT,
        key.decode(),
        value.removesuffix(b"\n"),
        tuple((name.decode(), value) for name, value in headers),
    )


def kept(name: str) -> list[Path]:
    """The files of what is called so, oldest first: `<name>.<number>.txt`."""
    return sorted(FOLDER.glob(f"{name}.*.txt"), key=lambda path: int(path.stem.rpartition(".")[2]))


def main() -> None:
    for name, record in (examples.events() | examples.others()).items():
        files = kept(name)
        if not files or files[-1].read_bytes() != text_of(record):
            path = FOLDER / f"{name}.{len(files) + 1}.txt"
            path.write_bytes(text_of(record))
            print(f"added {path.name}")


if __name__ == "__main__":
    main()
