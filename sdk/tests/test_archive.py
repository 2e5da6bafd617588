"""An adapter's archive: unpacked whole, never outside its folder."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tunesmith import APIError
from tunesmith._archive import unpack


def packed(*entries: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as writer:
        for entry, content in entries:
            entry.size = len(content)
            writer.addfile(entry, io.BytesIO(content))
    archive.seek(0)
    return archive


def named(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, link
    return entry


@pytest.mark.parametrize(
    "entry",
    [
        named("../outside"),
        named("/tmp/absolute"),
        named("a/../../outside"),
        named("link", tarfile.SYMTYPE, "/etc/passwd"),
        named("link", tarfile.LNKTYPE, "../outside"),
        named("device", tarfile.CHRTYPE),
    ],
)
def test_what_would_reach_outside_is_refused_and_nothing_is_left(
    tmp_path: Path, entry: tarfile.TarInfo
) -> None:
    with pytest.raises(APIError, match="refused"):
        unpack(packed((named("good"), b"1"), (entry, b"")), tmp_path / "adapter")
    assert list(tmp_path.iterdir()) == []


def test_an_archive_cut_short_leaves_nothing(tmp_path: Path) -> None:
    whole = packed((named("adapter_model.safetensors"), bytes(range(256)) * 400)).getvalue()
    with pytest.raises(APIError, match="broken"):
        unpack(io.BytesIO(whole[: len(whole) // 2]), tmp_path / "adapter")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_archive_is_no_adapter(tmp_path: Path) -> None:
    with pytest.raises(APIError, match="empty"):
        unpack(packed(), tmp_path / "adapter")


def test_an_empty_folder_is_filled_and_an_old_adapter_replaced(tmp_path: Path) -> None:
    target = tmp_path / "adapter"
    target.mkdir()
    unpack(packed((named("adapter_config.json"), b"old"), (named("sub/part"), b"1")), target)
    (target / "mine.txt").write_text("stays")
    unpack(packed((named("adapter_config.json"), b"new"), (named("sub/part"), b"2")), target)
    assert (target / "adapter_config.json").read_bytes() == b"new"
    assert (target / "sub" / "part").read_bytes() == b"2"
    assert (target / "mine.txt").read_text() == "stays"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "adapter").write_text("a file")
    with pytest.raises(NotADirectoryError, match="name a folder"):
        unpack(packed((named("a"), b"1")), tmp_path / "adapter")
