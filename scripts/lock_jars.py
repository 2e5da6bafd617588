"""Write `infra/kafka/jars.lock.toml`: the SHA-256 of every jar that the broker needs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import jgo

ENDPOINT = "org.apache.kafka:kafka_2.13:4.4.0+org.slf4j:slf4j-simple:2.0.17"
LOCK = Path(__file__).parents[1] / "infra" / "kafka" / "jars.lock.toml"

if __name__ == "__main__":
    jars = sorted(jgo.build(ENDPOINT).all_jars, key=lambda jar: jar.name)
    lines = [
        "# The broker's jars, made by `make jars-lock`; each is checked against it before the broker starts.",
        f'endpoint = "{ENDPOINT}"',
        "",
        "[sha256]",
        *(f'"{jar.name}" = "{hashlib.sha256(jar.read_bytes()).hexdigest()}"' for jar in jars),
    ]
    LOCK.write_text("\n".join(lines) + "\n")
