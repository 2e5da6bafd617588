"""The Dockerfile and docker-compose.yml say the same as the code does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.embedded.jars import committed_lock
from app.embedded.postgres import RELEASE
from app.roles import ROLES
from app.settings import Settings

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return dict(document["services"])


def test_each_of_the_six_roles_is_a_service_of_its_own(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if service.get("command", [])[:1] == ["run"]} == set(
        ROLES
    )
    for role in ROLES:
        assert services[role]["command"] == ["run", role]
        assert services[role]["depends_on"]["topics"]["condition"] == "service_completed_successfully"
        assert services[role]["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_topics_are_applied_once_after_the_broker_answers(services: dict[str, Any]) -> None:
    assert services["topics"]["command"] == ["topics", "apply"]
    assert services["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}


def test_broker_and_database_are_the_releases_that_are_embedded_too(services: dict[str, Any]) -> None:
    kafka = committed_lock().endpoint.split(":")[2].partition("+")[0]
    assert services["kafka"]["image"] == f"apache/kafka:{kafka}"
    assert services["postgres"]["image"] == f"postgres:{RELEASE}"


@pytest.mark.parametrize("file", ["Dockerfile", "docker-compose.yml"])
def test_every_setting_named_there_is_one(file: str) -> None:
    named = set(re.findall(r"TUNESMITH_([A-Z_]+)", (ROOT / file).read_text()))
    assert named
    assert named <= {field.upper() for field in Settings.__struct_fields__}


def test_the_settings_of_the_services_can_be_used(services: dict[str, Any]) -> None:
    for role in ROLES:
        given = {
            name: str(value)
            for name, value in services[role]["environment"].items()
            if "${" not in str(value)
        }
        assert Settings.from_env(given).kafka == "kafka:9092"


def test_nothing_is_published_but_on_loopback(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_image_runs_our_command_as_nobody_special() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    [entry] = re.findall(r'^ENTRYPOINT \["(.+)"\]', dockerfile, re.MULTILINE)
    assert entry in scripts
    last_stage = dockerfile.rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9]\d*$", last_stage, re.MULTILINE)


def test_what_the_image_copies_is_there_and_let_through() -> None:
    let_through = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied == let_through
    assert all((ROOT / source).exists() for source in copied)
