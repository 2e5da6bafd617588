"""What the package shows: its names, its docstrings, its two clients that are one."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tunesmith
from tunesmith import AsyncTuningClient, AsyncTuningJob, TuningClient, TuningJob
from tunesmith.cli.app import app

SDK = Path(__file__).parents[1]

NAMES = """
    APIConnectionError APIError APITimeoutError Account AccountLimits AccountUsage ApiKey AsyncPage
    AsyncTuningClient AsyncTuningJob AsyncTuningUpdate AuditEntry AuthenticationError Checkpoint
    ConflictError CutEnd Deleted DeletedFile ErrorType ExampleLoss ExampleLosses File FileCheck FileFault
    FileStatistics HYPERPARAMETERS Health Hyperparameter Hyperparameters InvalidRequestError JobStatus
    Lengths Limits MemoryParts Model NotFoundError Page PermissionError PreviewRow PreviewToken
    QueuePlace RateLimitError ReducedMemory RequestFault RerunOutcome RowFinding ServerError StepCounts
    StepMetric Suggestion TimeEstimate TimeoutError TokenCounts TuningClient TuningEstimate TuningEvent
    TuningFailure TuningJob TuningLog TuningMemory TuningMetrics TuningPreview TuningUpdate Upload
    UploadPart WebhookAnswer WebhookAttempt WebhookDelivery WebhookEndpoint WebhookEvent WebhookReplay
    WebhookRequest WebhookVerificationError WorkerFit __version__ retry_with_exponential_backoff
    verify_webhook
"""
NOUNS = ("tunings", "files", "uploads", "models", "keys", "accounts", "webhooks", "audit")


def test_the_public_names_are_these_and_no_other() -> None:
    assert sorted(tunesmith.__all__) == sorted(NAMES.split())
    shown = {name for name in vars(tunesmith) if not name.startswith("_")} - {"cli", "kafka"}
    assert shown <= set(tunesmith.__all__)


def resources(client: Any) -> dict[str, Any]:
    return {"client": client, **{name: getattr(client, name) for name in NOUNS}}


def public(of: Any) -> dict[str, Any]:
    kind = of if inspect.isclass(of) else type(of)
    return {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}


@pytest.fixture
def clients() -> tuple[TuningClient, AsyncTuningClient]:
    return TuningClient("sk-test"), AsyncTuningClient("sk-test")


def test_both_clients_have_the_same_methods_with_the_same_parameters(
    clients: tuple[TuningClient, AsyncTuningClient],
) -> None:
    pairs = list(zip(resources(clients[0]).values(), resources(clients[1]).values(), strict=True))
    pairs += [(TuningJob, AsyncTuningJob), (tunesmith.Page, tunesmith.AsyncPage)]
    compared = 0
    for sync, asynchronous in pairs:
        assert public(sync).keys() == public(asynchronous).keys()
        for name, method in public(sync).items():
            if inspect.isfunction(method):
                twin = inspect.signature(public(asynchronous)[name])
                assert list(inspect.signature(method).parameters) == list(twin.parameters)
                compared += 1
    assert compared > 75


def test_everything_public_has_a_docstring_that_begins_with_one_sentence(
    clients: tuple[TuningClient, AsyncTuningClient],
) -> None:
    described: dict[str, Any] = {
        name: getattr(tunesmith, name)
        for name in tunesmith.__all__
        if name not in {"__version__", "HYPERPARAMETERS"}
    }
    for client in clients:
        for owner, resource in resources(client).items():
            described |= {f"{owner}.{name}": member for name, member in public(resource).items()}
    for kind in [each for each in described.values() if inspect.isclass(each)]:
        own = {name: member for name, member in public(kind).items() if described_by_itself(kind, name)}
        described |= {f"{kind.__name__}.{name}": member for name, member in own.items()}
    assert len(described) > 250
    for name, member in described.items():
        first = (inspect.getdoc(member) or "").partition("\n")[0]
        assert first.endswith((".", "`.")), f"{name}: {first!r}"


def described_by_itself(kind: type, name: str) -> bool:
    """Whether a member is ours to describe: a method or property of our own, and no constant."""
    inherited = any(hasattr(base, name) for base in (dict, list, tuple, OSError))
    field = name in getattr(kind, "_fields", ()) or name in vars(kind).get("__annotations__", ())
    return not inherited and not field and not name.isupper()


def test_the_constructor_is_the_source_documents() -> None:
    parameters = inspect.signature(TuningClient).parameters
    assert list(parameters)[:4] == ["api_key", "base_url", "timeout", "max_retries"]
    client = TuningClient("sk-test")
    assert (client.api_key, client.base_url) == ("sk-test", "http://localhost:8000")
    assert (client.timeout, client.max_retries) == (30, 3)
    wait = inspect.signature(client.tunings.wait_for_completion).parameters
    assert (wait["poll_interval"].default, wait["timeout"].default) == (10, None)
    assert inspect.signature(client.tunings.list).parameters["limit"].default == 20


def test_importing_loads_nothing_but_httpx_and_what_that_loads() -> None:
    code = """
import json, sys
import httpx
before = set(sys.modules)
import tunesmith
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name for name in json.loads(ran.stdout) if name not in sys.stdlib_module_names}
    assert loaded <= {"tunesmith", "typing_extensions"}


def test_the_version_is_told_once() -> None:
    assert f'\nversion = "{tunesmith.__version__}"\n' in (SDK / "pyproject.toml").read_text()


def test_the_package_is_marked_as_typed_and_every_module_says_what_it_is() -> None:
    assert (SDK / "tunesmith" / "py.typed").exists()
    for path in sorted((SDK / "tunesmith").rglob("*.py")):
        name = ".".join(path.relative_to(SDK).with_suffix("").parts).removesuffix(".__init__")
        assert importlib.import_module(name).__doc__, name


def test_the_readme_names_every_method_and_every_command() -> None:
    readme = (SDK / "README.md").read_text()
    client = TuningClient("sk-test")
    for noun in NOUNS:
        (row,) = [line for line in readme.splitlines() if line.startswith(f"| `client.{noun}` |")]
        for name in public(getattr(client, noun)):
            assert f"`{name}`" in row, f"{noun}.{name}"
    for group in app.registered_groups:
        (row,) = [line for line in readme.splitlines() if line.startswith(f"| `{group.name}` |")]
        assert group.typer_instance is not None
        for command in group.typer_instance.registered_commands:
            assert f"`{command.name}`" in row, f"{group.name} {command.name}"
