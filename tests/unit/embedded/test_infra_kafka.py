"""What `infra/kafka/` declares is what the contract says."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from app.log.resources import infra_kafka
from app.log.topics import Topic, declared

ROOT = Path(__file__).parents[3]
DAY = 86_400_000
WEEK = 7 * DAY
# topic: (partitions embedded, cluster, cleanup policy, retention in ms)
CONTRACT: dict[str, tuple[int, int, str, int | None]] = {
    "tunesmith.replies.v1": (1, 6, "delete", DAY),
    "tunesmith.work.v1": (1, 6, "delete", WEEK),
    "tunesmith.workers.v1": (1, 1, "compact,delete", WEEK),
    "tunesmith.queue.v1": (1, 1, "compact", None),
    "tunesmith.metrics.v1": (1, 6, "delete", 30 * DAY),
}
for stream, cluster in {"tunings": 6, "files": 6, "models": 1, "accounts": 1}.items():
    CONTRACT[f"tunesmith.{stream}.commands.v1"] = (1, cluster, "delete", WEEK)
    CONTRACT[f"tunesmith.{stream}.events.v1"] = (1, cluster, "delete", -1)
    CONTRACT[f"tunesmith.{stream}.state.v1"] = (1, cluster, "compact", None)


def by_name(profile: str) -> dict[str, Topic]:
    return {topic.name: topic for topic in declared(profile)}


@pytest.mark.parametrize(("profile", "column"), [("embedded", 0), ("cluster", 1)])
def test_the_topics_and_their_partitions_are_those_of_the_contract(profile: str, column: int) -> None:
    assert {name: topic.partitions for name, topic in by_name(profile).items()} == {
        name: row[column] for name, row in CONTRACT.items()
    }


@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_each_topic_keeps_what_the_contract_says(name: str) -> None:
    config = by_name("embedded")[name].config
    _, _, policy, retention = CONTRACT[name]
    assert config["cleanup.policy"] == policy
    assert config.get("retention.ms") == (None if retention is None else str(retention))


def test_commands_carry_the_time_at_which_the_log_took_them_and_nothing_else_does() -> None:
    stamped = {
        name for name, topic in by_name("embedded").items() if "message.timestamp.type" in topic.config
    }
    assert stamped == {name for name in CONTRACT if ".commands." in name}


def test_state_topics_are_compacted_soon() -> None:
    for name, topic in by_name("embedded").items():
        if ".state." in name:
            assert int(topic.config["segment.bytes"]) <= 16 * 1024**2
            assert int(topic.config["max.compaction.lag.ms"]) <= 600_000


def test_a_cluster_keeps_three_copies_and_takes_nothing_with_fewer_than_two_in_step() -> None:
    assert {topic.replication for topic in declared("cluster")} == {3}
    assert {topic.config["min.insync.replicas"] for topic in declared("cluster")} == {"2"}
    assert {topic.replication for topic in declared("embedded")} == {1}


def test_an_installed_wheel_finds_its_files_without_the_checkout(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=100)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    ask = "import app.log.resources as r; print(r.__file__); print(r.infra_kafka('topics.toml').read_text())"
    found = subprocess.run(
        [sys.executable, "-c", ask],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "installed")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    where, _, text = found.partition("\n")
    assert where.startswith(str(tmp_path))
    assert text.strip() == infra_kafka("topics.toml").read_text().strip()


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"infra/kafka/none\.toml is missing"):
        infra_kafka("none.toml")
