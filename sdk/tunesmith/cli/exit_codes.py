"""The exit codes of `tunesmith`: public, so they only grow."""

from __future__ import annotations

from enum import IntEnum

from tunesmith import (
    APIConnectionError,
    APIError,
    AuthenticationError,
    NotFoundError,
    PermissionError,
    TimeoutError,
)


class ExitCode(IntEnum):
    """What the exit code of a command tells."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_ALLOWED = 3
    NOT_FOUND = 4
    NO_ANSWER = 5
    JOB_NOT_SUCCEEDED = 6
    FILE_FAULTY = 7
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "the service refused or failed, or a local file could not be read or written",
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.NOT_ALLOWED: "no key, an unknown key, or one that may not do this",
    ExitCode.NOT_FOUND: "no such job, file, model, key, account or webhook",
    ExitCode.NO_ANSWER: "the service could not be reached or did not answer in time",
    ExitCode.JOB_NOT_SUCCEEDED: "the job failed or was cancelled",
    ExitCode.FILE_FAULTY: "the file's check found faults",
    ExitCode.INTERRUPTED: "interrupted; a job that was being watched goes on",
}


def code_of(error: APIError) -> ExitCode:
    """The exit code that an exception means."""
    match error:
        case AuthenticationError() | PermissionError():
            return ExitCode.NOT_ALLOWED
        case NotFoundError():
            return ExitCode.NOT_FOUND
        case APIConnectionError() | TimeoutError():
            return ExitCode.NO_ANSWER
    return ExitCode.FAILED
