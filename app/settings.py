"""The one typed settings object, read from `TUNESMITH_*` environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

SHORTEST_KEY = 32


class SettingsError(Exception):
    """A setting is missing or has a value that cannot be used."""


def default_cache_dir(env: Mapping[str, str]) -> Path:
    """Folder of what every installation on this machine shares: broker jars and converted models."""
    base = env.get("XDG_CACHE_HOME") or str(Path(env.get("HOME", "~")).expanduser() / ".cache")
    return Path(base) / "tunesmith"


class Settings(Struct, frozen=True, kw_only=True):
    """Every setting; each field is the variable `TUNESMITH_<FIELD>`."""

    kafka: Annotated[str | None, Meta(description="Bootstrap servers; none: `up` embeds a broker.")] = None
    kafka_security: Annotated[
        str,
        Meta(
            pattern="^(plaintext|ssl|sasl_plaintext|sasl_ssl)$",
            description="How to talk to the brokers: plaintext, ssl, sasl_plaintext, sasl_ssl.",
        ),
    ] = "plaintext"
    kafka_user: Annotated[str | None, Meta(description="User on the brokers, for sasl_….")] = None
    kafka_password: Annotated[
        str | None, Meta(description="The user's password.", extra={"secret": True})
    ] = None
    kafka_ca: Annotated[
        str | None, Meta(description="File of certificates to trust, for …ssl; none: the system's.")
    ] = None
    database: Annotated[str | None, Meta(description="PostgreSQL DSN; none: `up` embeds a server.")] = None
    storage: Annotated[
        str | None,
        Meta(description="Object store URL (file://, s3://, gs://, az://); none: in the data folder."),
    ] = None
    data_dir: Annotated[Path, Meta(description="Folder of this installation's data.")] = Path(".tunesmith")
    cache_dir: Annotated[Path, Meta(description="Folder of broker jars and converted models.")] = field(
        default_factory=lambda: default_cache_dir(os.environ)
    )
    host: Annotated[str, Meta(description="Address the api listens on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port the api listens on; 0: a free one.")] = 8000
    kafka_port: Annotated[
        int, Meta(ge=0, le=65535, description="Port of the embedded broker; 0: a free one.")
    ] = 0
    profile: Annotated[
        str,
        Meta(pattern="^(embedded|cluster)$", description="Which column of topics.toml topics are made by."),
    ] = "embedded"
    installation_key: Annotated[
        str | None,
        Meta(
            description="What webhook secrets derive from, the same for every role; none: no webhooks.",
            extra={"secret": True},
        ),
    ] = None
    webhook_allow: Annotated[
        str,
        Meta(description="Networks inside that webhooks may go to all the same, as 10.1.0.0/16,127.0.0.0/8."),
    ] = ""
    creates_per_minute: Annotated[
        int, Meta(ge=0, description="Tunings an account may create in any 60 seconds; 0: no limit.")
    ] = 10
    running_tunings: Annotated[
        int, Meta(ge=0, description="Attempts an account may have on workers at a time; 0: no limit.")
    ] = 0
    waiting_tunings: Annotated[
        int, Meta(ge=0, description="Pending tunings an account may have at a time; 0: no limit.")
    ] = 0
    stored_bytes: Annotated[
        int, Meta(ge=0, description="Bytes of uploads an account may have at a time; 0: no limit.")
    ] = 0
    audit_days: Annotated[
        int, Meta(ge=0, description="How long rows of the audit log are kept; 0: for ever.")
    ] = 90
    upload_limit_bytes: Annotated[int, Meta(ge=1, description="Largest upload, in bytes.")] = 8 * 1024**3
    models: Annotated[
        Path | None, Meta(description="File of your own base models, models.toml; none: the packaged ones.")
    ] = None
    hub_endpoint: Annotated[
        str, Meta(pattern="^https?://[^ ]+$", description="Where models of the hub are fetched from.")
    ] = "https://huggingface.co"
    hub_token: Annotated[
        str | None, Meta(description="Token of the hub, for gated models.", extra={"secret": True})
    ] = None
    worker: Annotated[str | None, Meta(description="Name of this trainer worker; none: the host's.")] = None
    slots: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="Attempts one trainer worker runs at a time; none: some on each device."),
    ] = None
    slots_per_device: Annotated[
        int, Meta(ge=1, description="Attempts at a time on each device, which share its memory.")
    ] = 1
    devices_per_slot: Annotated[
        int, Meta(ge=1, description="Devices, or processes on a CPU, that share each attempt.")
    ] = 1
    trackers: Annotated[
        str, Meta(description="Trackers that trainings report to: tensorboard, mlflow, wandb, with commas.")
    ] = ""
    tracking_dir: Annotated[
        Path | None, Meta(description="What trackers keep on this machine; none: in the data folder.")
    ] = None
    lease_seconds: Annotated[
        float, Meta(gt=0, description="Without a heartbeat for this long a worker's attempts are lost.")
    ] = 30.0
    stall_seconds: Annotated[
        float, Meta(gt=0, description="An attempt whose step stands still for this long is lost.")
    ] = 600.0
    checkpoint_seconds: Annotated[
        float, Meta(gt=0, description="After so much training a tuning's next checkpoint is written.")
    ] = 300.0
    share_half_life_seconds: Annotated[
        float, Meta(gt=0, description="After this long what an account used counts half in its fair share.")
    ] = 86_400.0
    patience_seconds: Annotated[
        float,
        Meta(gt=0, description="An account's longest waiting tuning goes before all others after this long."),
    ] = 86_400.0
    preemption_margin: Annotated[
        int,
        Meta(
            ge=0,
            description="How much higher a priority must be to take a running tuning's device; 0: never.",
        ),
    ] = 1
    drain_seconds: Annotated[
        float, Meta(gt=0, description="How long a role finishes what is in flight after SIGTERM.")
    ] = 30.0
    log_level: Annotated[
        str, Meta(pattern="^(debug|info|warning|error)$", description="Least level logged.")
    ] = "info"

    def __post_init__(self) -> None:
        if self.installation_key is not None and len(self.installation_key) < SHORTEST_KEY:
            raise ValueError(f"installation_key must have at least {SHORTEST_KEY} characters")
        self.webhook_networks()

    def webhook_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks of `webhook_allow`. Raises ValueError."""
        return tuple(ip_network(part.strip()) for part in self.webhook_allow.split(",") if part.strip())

    @staticmethod
    def from_env(env: Mapping[str, str], **overrides: Any) -> Settings:
        """Read `TUNESMITH_*` from `env`; an override that is not None wins. Raises `SettingsError`."""
        names = Settings.__struct_fields__
        values: dict[str, Any] = {"cache_dir": default_cache_dir(env)}
        for name in names:
            if (text := env.get(f"TUNESMITH_{name.upper()}")) not in (None, ""):
                values[name] = text
        values |= {name: value for name, value in overrides.items() if value is not None}
        try:
            return msgspec.convert(values, Settings, strict=False, dec_hook=_path)
        except msgspec.ValidationError as error:
            raise SettingsError(f"setting not usable: {error} (see `tunesmith-server settings`)") from error


def _path(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise NotImplementedError(kind)
