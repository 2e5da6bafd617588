"""Client of a Tunesmith fine-tuning service: `TuningClient`, and `AsyncTuningClient` with coroutines."""

from tunesmith._async._client import AsyncTuningClient
from tunesmith._async._page import AsyncPage
from tunesmith._async._tuning_job import AsyncTuningJob, AsyncTuningUpdate
from tunesmith._exceptions import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    ConflictError,
    ErrorType,
    InvalidRequestError,
    NotFoundError,
    PermissionError,
    RateLimitError,
    ServerError,
    TimeoutError,
    WebhookVerificationError,
)
from tunesmith._hyperparameters import Hyperparameters
from tunesmith._models import (
    DeletedFile,
    File,
    FileCheck,
    FileFault,
    Health,
    JobStatus,
    Model,
    QueuePlace,
    StepMetric,
    TuningFailure,
    TuningMetrics,
)
from tunesmith._retry import retry_with_exponential_backoff
from tunesmith._sync._client import TuningClient
from tunesmith._sync._page import Page
from tunesmith._sync._tuning_job import TuningJob, TuningUpdate
from tunesmith._version import __version__
from tunesmith._webhooks import WebhookEvent, verify_webhook

__all__ = [
    "APIConnectionError",
    "APIError",
    "APITimeoutError",
    "AsyncPage",
    "AsyncTuningClient",
    "AsyncTuningJob",
    "AsyncTuningUpdate",
    "AuthenticationError",
    "ConflictError",
    "DeletedFile",
    "ErrorType",
    "File",
    "FileCheck",
    "FileFault",
    "Health",
    "Hyperparameters",
    "InvalidRequestError",
    "JobStatus",
    "Model",
    "NotFoundError",
    "Page",
    "PermissionError",
    "QueuePlace",
    "RateLimitError",
    "ServerError",
    "StepMetric",
    "TimeoutError",
    "TuningClient",
    "TuningFailure",
    "TuningJob",
    "TuningMetrics",
    "TuningUpdate",
    "WebhookEvent",
    "WebhookVerificationError",
    "__version__",
    "retry_with_exponential_backoff",
    "verify_webhook",
]
