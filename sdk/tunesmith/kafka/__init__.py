"""The service's events straight from its Kafka log, typed, in order, none twice and none missed.

pip install "tunesmith[kafka]"

async with EventStream("broker:9092", position=load()) as events:
    async for event in events:
        if isinstance(event.data, TuningSucceeded):
            print(event.aggregate_id, event.data.fine_tuned_model)
        store(event.position)  # in the same transaction as whatever else you write
"""

from tunesmith.kafka._events import (
    AccountLimitsSet,
    AccountOpened,
    AccountReinstated,
    AccountRenamed,
    AccountSuspended,
    Event,
    FileChecked,
    FileDeleted,
    FileUploaded,
    KeyIssued,
    KeyRetired,
    KeyRevoked,
    ModelArchived,
    ModelDeleted,
    ModelRegistered,
    TuningAttemptLost,
    TuningCancelled,
    TuningCheckpointSaved,
    TuningCreated,
    TuningDispatched,
    TuningEpochCompleted,
    TuningFailed,
    TuningMemoryReduced,
    TuningPaused,
    TuningPauseRequested,
    TuningResumed,
    TuningStarted,
    TuningSucceeded,
    TuningUpdated,
    WebhookAdded,
    WebhookRemoved,
    WebhookSecretRotated,
    WebhookUpdated,
)
from tunesmith.kafka._history import ChainError, GapError, StreamError
from tunesmith.kafka._stream import EventStream

__all__ = [
    "AccountLimitsSet",
    "AccountOpened",
    "AccountReinstated",
    "AccountRenamed",
    "AccountSuspended",
    "ChainError",
    "Event",
    "EventStream",
    "FileChecked",
    "FileDeleted",
    "FileUploaded",
    "GapError",
    "KeyIssued",
    "KeyRetired",
    "KeyRevoked",
    "ModelArchived",
    "ModelDeleted",
    "ModelRegistered",
    "StreamError",
    "TuningAttemptLost",
    "TuningCancelled",
    "TuningCheckpointSaved",
    "TuningCreated",
    "TuningDispatched",
    "TuningEpochCompleted",
    "TuningFailed",
    "TuningMemoryReduced",
    "TuningPauseRequested",
    "TuningPaused",
    "TuningResumed",
    "TuningStarted",
    "TuningSucceeded",
    "TuningUpdated",
    "WebhookAdded",
    "WebhookRemoved",
    "WebhookSecretRotated",
    "WebhookUpdated",
]
