"""A checkpoint's folder: whole and untouched, or none."""

from __future__ import annotations

import errno
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.storage.keys import MANIFEST
from app.trainer_worker.training import checkpoints
from app.trainer_worker.training.checkpoints import Manifest, NoCheckpoint, Part, Written

PARTS: dict[str, Part] = {
    "weights.pt": lambda out: out.write(b"w" * 1000),
    "state.json": lambda out: out.write(b"{}"),
}


def manifest(step: int, evaluated: int | None = None, run: str = "r") -> Manifest:
    return Manifest(run=run, step=step, evaluated=evaluated, epoch=0, batch=step)


def written(base: Path, step: int) -> Written:
    return checkpoints.write(base, manifest(step), PARTS)


def none_skipped(folder: Path, why: str) -> None:
    raise AssertionError(f"{folder}: {why}")


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    made = written(tmp_path, 7)
    assert checkpoints.read(made.folder) == made
    assert made.bytes == sum(path.stat().st_size for path in made.folder.iterdir())
    assert set(made.manifest.files) == set(PARTS)
    assert checkpoints.newest(tmp_path, "r", none_skipped) == made


def test_later_points_have_later_names() -> None:
    points = [manifest(9), manifest(10, 0), manifest(10, 3), manifest(10), manifest(100)]
    names = [one.name for one in points]
    assert names == sorted(names)


def flip(folder: Path) -> None:
    path = folder / "weights.pt"
    path.write_bytes(b"x" + path.read_bytes()[1:])


def cut(folder: Path) -> None:
    path = folder / "weights.pt"
    path.write_bytes(path.read_bytes()[:-1])


def lose(folder: Path) -> None:
    (folder / "state.json").unlink()


def unlist(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def tear(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_bytes(path.read_bytes()[:-9])


def lead_elsewhere(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"weights.pt"', b'"../weights.pt"'))


def grow_old(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"format": 1', b'"format": 2'))


@pytest.mark.parametrize("damage", [flip, cut, lose, unlist, tear, lead_elsewhere, grow_old])
def test_what_is_not_as_it_was_written_is_passed_over(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    older, newer = written(tmp_path, 1), written(tmp_path, 2)
    damage(newer.folder)
    with pytest.raises(NoCheckpoint):
        checkpoints.read(newer.folder)
    skipped: list[Path] = []
    assert checkpoints.newest(tmp_path, "r", lambda folder, _: skipped.append(folder)) == older
    assert skipped == [newer.folder]
    assert written(tmp_path, 2).manifest == newer.manifest  # the point is reached again
    assert checkpoints.newest(tmp_path, "r", none_skipped) == newer


def test_that_of_another_run_is_none(tmp_path: Path) -> None:
    written(tmp_path, 1)
    skipped: list[Path] = []
    assert checkpoints.newest(tmp_path, "other", lambda folder, _: skipped.append(folder)) is None
    assert len(skipped) == 1


@pytest.fixture
def small_files() -> Iterator[int]:
    """No file may grow beyond so many bytes: writing more fails midway, as on a disk that is full."""
    before, limit = resource.getrlimit(resource.RLIMIT_FSIZE), 500
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_where_there_is_no_room_nothing_is_left_of_it(tmp_path: Path, small_files: int) -> None:
    with pytest.raises(OSError, match="File too large"):
        written(tmp_path, 1)
    with pytest.raises(OSError) as full:  # noqa: PT011 – what matters is its number
        checkpoints.write(tmp_path, manifest(1), {}, expected=2**62)
    assert full.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 10, 11):
        written(tmp_path, step)
    checkpoints.keep_newest(tmp_path, 2)
    assert [checkpoints.read(one).manifest.step for one in checkpoints.newest_first(tmp_path)] == [11, 10]
