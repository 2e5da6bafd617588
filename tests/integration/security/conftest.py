"""`secured`: a broker with SASL/SCRAM and the authorizer on, topics and permissions by the commands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec import Struct

from app.log.access import Access
from app.log.acls import OPERATOR
from app.log.kafka import KafkaLog
from tests.cluster.nodes import nodes

OPERATOR_PASSWORD = "operator-secret"


class Secured(Struct, frozen=True):
    """The broker, and the folder of everybody's passwords."""

    bootstrap: str
    passwords: Path

    def access(self, role: str) -> Access:
        user = f"tunesmith-{role}"
        return Access("sasl_plaintext", user, (self.passwords / user).read_text().strip())

    def log(self, role: str) -> KafkaLog:
        """The log as a role sees it."""
        return KafkaLog(self.bootstrap, self.access(role))

    def environment(self, role: str, **more: str) -> dict[str, str]:
        """What a process of that role has in its environment."""
        access = self.access(role)
        return os.environ | {
            "TUNESMITH_KAFKA": self.bootstrap,
            "TUNESMITH_KAFKA_SECURITY": access.security,
            "TUNESMITH_KAFKA_USER": access.user or "",
            "TUNESMITH_KAFKA_PASSWORD": access.password or "",
            **more,
        }

    def command(
        self, *arguments: str, role: str = "operator", **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `tunesmith-server` to its end as that role's user."""
        return subprocess.run(
            [sys.executable, "-m", "app.cli", *arguments],
            env=self.environment(role, **more),
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def secured(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> AsyncIterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    passwords = folder / "passwords"
    passwords.mkdir()
    (passwords / OPERATOR).write_text(OPERATOR_PASSWORD)
    async with nodes(folder, cache_dir, 1, operator_password=OPERATOR_PASSWORD) as brokers:
        found = Secured(brokers.bootstrap, passwords)
        for command in (
            ("topics", "apply"),
            ("users", "apply", "--passwords", str(passwords)),
            ("acls", "apply"),
        ):
            ended = found.command(*command)
            assert ended.returncode == 0, ended.stderr
        yield found
