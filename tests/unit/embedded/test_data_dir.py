"""The data folder: its version, its room, and the lock that a killed run leaves no trace of."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from app.embedded.addresses import Addresses, read_addresses, write_addresses
from app.embedded.data_dir import VERSION, opened
from app.embedded.errors import DataDirError, DataDirLocked, DataDirVersion, DiskFull

HOLD = """
import sys
from pathlib import Path
from app.embedded.data_dir import opened
with opened(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_new_folder_gets_its_layout_and_the_version_of_this_release(tmp_path: Path) -> None:
    with opened(tmp_path / "new") as folder:
        assert (folder.root / "version").read_text() == f"{VERSION}\n"
        assert folder.objects.is_dir()
        assert folder.work.is_dir()
        assert folder.logs.is_dir()
        assert stat.S_IMODE(folder.root.stat().st_mode) == 0o700


def test_a_folder_can_be_opened_again_after_it_was_closed(tmp_path: Path) -> None:
    for _ in range(2):
        with opened(tmp_path):
            pass


def test_a_folder_of_another_version_is_refused_with_both_versions_named(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    (tmp_path / "version").write_text("99\n")
    with (
        pytest.raises(DataDirVersion, match=rf"version 99, this release reads version {VERSION}"),
        opened(tmp_path),
    ):
        pass
    assert (tmp_path / "version").read_text() == "99\n"


def test_a_folder_with_data_and_no_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    with pytest.raises(DataDirVersion, match="no version file"), opened(tmp_path):
        pass


def test_too_little_room_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with (
        pytest.raises(DiskFull, match=r"MiB are free at .* are needed"),
        opened(tmp_path, least_free_bytes=2**62),
    ):
        pass
    assert not (tmp_path / "objects").exists()


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirError, match="name another --data-dir"), opened(tmp_path / "file"):
        pass


def test_a_second_run_is_refused_by_the_pid_of_the_first_which_leaves_no_lock_when_killed(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(DataDirLocked, match=f"in use by process {first.pid};"), opened(tmp_path):
            pass
        first.send_signal(signal.SIGKILL)
        first.wait()
        with opened(tmp_path):
            pass


def test_the_addresses_of_a_running_up_are_for_the_owner_only_and_gone_when_it_ends(tmp_path: Path) -> None:
    addresses = Addresses(os.getpid(), "127.0.0.1:1", "postgresql://u:secret@h/d", "http://127.0.0.1:2")
    with opened(tmp_path) as folder:
        assert read_addresses(tmp_path) is None
        write_addresses(folder, addresses)
        assert read_addresses(tmp_path) == addresses
        assert stat.S_IMODE(folder.addresses.stat().st_mode) == 0o600
    assert read_addresses(tmp_path) is None


def test_the_addresses_of_a_killed_up_count_for_nothing(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with opened(tmp_path) as folder:
        write_addresses(folder, Addresses(gone.pid, "127.0.0.1:1", "postgresql://h/d"))
        assert read_addresses(tmp_path) is None


def test_torn_addresses_count_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "addresses.json").write_text('{"pid": ')
    assert read_addresses(tmp_path) is None
