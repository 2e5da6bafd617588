"""The surroundings of a child, made before anything heavy is imported."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import warnings
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1

# How often a thread of OpenMP looks again before it sleeps. The default, 300,000, burns whole time slices as
# soon as another process wants a core: small products then take twice as long as with this.
SPINS = "10000"

QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "DATASETS_VERBOSITY": "error",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "TQDM_DISABLE": "1",
}


def die_first() -> None:
    """Be the one that the kernel kills when it has no memory left, and not the broker or the database."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800", encoding="ascii")


def die_with_parent() -> None:
    """Be killed by the kernel when the supervisor is gone, however it went."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def prepare() -> None:
    """No hub, no telemetry, no bars, no advice: what matters comes as frames.

    SIGTERM keeps its default: the kernel ends the process at once, in the middle of whatever it does.
    """
    os.environ |= QUIET
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    die_first()
    warnings.simplefilter("ignore")
    for name in ("bitsandbytes", "torch", "accelerate", "datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor, which then ends its children
