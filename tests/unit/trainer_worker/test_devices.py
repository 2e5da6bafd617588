"""Which slot gets which device, of what the driver tells and what the environment leaves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.log.workers import Device
from app.trainer_worker.devices import Gpu, Place, device_of, inventory, places, read_gpus
from app.trainer_worker.training.frames import Ready

GIB = 1024**3
LISTING = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa1111-0000-0000-0000-000000000000)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb2222-0000-0000-0000-000000000000)
  MIG 3g.20gb     Device  0: (UUID: MIG-cccc3333-0000-0000-0000-000000000000)
  MIG 3g.20gb     Device  1: (UUID: MIG-dddd4444-0000-0000-0000-000000000000)
"""
QUERIED = """\
0, GPU-aaaa1111-0000-0000-0000-000000000000, NVIDIA H100 80GB HBM3, 81559, 570.86.15
1, GPU-bbbb2222-0000-0000-0000-000000000000, NVIDIA A100-SXM4-40GB, [N/A], 570.86.15
"""
ONE = Gpu("GPU-aaaa", 0, "one", GIB, "570")
TWO = Gpu("GPU-bbbb", 1, "two", GIB, "570")
PART = Gpu("MIG-cccc", None, "part", 0, "570")


def test_the_driver_tells_of_gpus_and_of_the_parts_of_one_that_is_parted() -> None:
    found = read_gpus(LISTING, QUERIED)
    assert [(gpu.uuid[:8], gpu.index, gpu.name, gpu.driver) for gpu in found] == [
        ("GPU-aaaa", 0, "NVIDIA H100 80GB HBM3", "570.86.15"),
        ("MIG-cccc", None, "NVIDIA A100-SXM4-40GB MIG 3g.20gb", "570.86.15"),
        ("MIG-dddd", None, "NVIDIA A100-SXM4-40GB MIG 3g.20gb", "570.86.15"),
    ]
    assert found[0].memory == 81559 * 1024**2


def test_each_device_has_a_slot_of_its_own_and_its_child_sees_no_other() -> None:
    assert places([ONE, TWO], None) == [Place("GPU-aaaa", "570"), Place("GPU-bbbb", "570")]


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        ("1", ["1"]),
        ("1,0", ["1", "0"]),
        ("GPU-b", ["GPU-b"]),
        ("MIG-cccc, 0", ["MIG-cccc", "0"]),
        ("0,7,1", ["0"]),  # CUDA stops at what there is not
        ("0,-1,1", ["0"]),
        ("", [""]),
        ("-1", [""]),
        ("NoDevFiles", [""]),
    ],
)
def test_what_our_own_environment_leaves_out_is_not_given_away(visible: str, seen: list[str]) -> None:
    assert [place.visible for place in places([ONE, TWO, PART], visible)] == seen


def test_without_a_driver_that_tells_the_environment_alone_counts_or_else_the_child_looks_itself() -> None:
    assert places([], None) == [Place()]
    assert places([], "0,3") == [Place("0"), Place("3")]


def test_slots_share_devices_when_there_are_more_of_them() -> None:
    assert (
        places([ONE, TWO], None, per_device=2)
        == [
            Place("GPU-aaaa", "570", 2),
            Place("GPU-bbbb", "570", 2),
        ]
        * 2
    )
    assert [place.sharing for place in places([ONE, TWO], None, slots=3)] == [2, 1, 2]
    assert places([ONE, TWO], None, slots=1) == [Place("GPU-aaaa", "570")]
    assert places([], None, slots=2) == [Place(None, "", 2)] * 2
    assert places([], None, slots=0) == []


def test_several_devices_make_one_slot_and_a_cpu_several_processes() -> None:
    both = Place("GPU-aaaa,GPU-bbbb", "570", devices=2)
    assert places([ONE, TWO], None, devices_per_slot=2) == [both]
    assert [place.devices for place in places([ONE, TWO, PART], None, devices_per_slot=2)] == [2, 1]
    assert places([], "0,3", devices_per_slot=2) == [Place("0,3", devices=2)]
    assert places([], None, devices_per_slot=2) == [Place(devices=2)]
    assert places([ONE], "", devices_per_slot=2, slots=2) == [Place("", sharing=2, devices=2)] * 2


def test_a_slot_tells_its_part_of_the_device_that_its_child_found() -> None:
    ready = Ready("cuda", "H100", 80 * GIB, {"cuda": "13.0"})
    told = device_of(ready, Place("GPU-aaaa", "570", 2))
    assert told == Device("cuda", "H100", 40 * GIB, "570", "13.0", "GPU-aaaa")
    assert device_of(Ready("cpu", "Xeon", GIB, {}), Place("", "570")) == Device("cpu", "Xeon", GIB)


async def test_the_drivers_own_program_is_asked_and_may_be_missing_or_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}")
    assert await inventory() == []
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n[ $1 = -L ] && echo '{LISTING}' || echo '{QUERIED}'\n")
    program.chmod(0o755)
    assert await inventory() == read_gpus(LISTING, QUERIED)
    program.write_text("#!/bin/sh\necho 'Failed to initialize NVML' >&2; exit 18\n")
    assert await inventory() == []
    assert os.environ["PATH"] == str(tmp_path)
