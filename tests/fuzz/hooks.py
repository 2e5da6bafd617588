"""Loaded by schemathesis: what it makes up gets ids that exist, so that it comes further than to a 404."""

from __future__ import annotations

import os
from typing import Any

import schemathesis

FILE, MODEL = os.environ["FUZZ_FILE"], os.environ["FUZZ_MODEL"]
OWN = {os.environ["FUZZ_KEY_ID"], os.environ["FUZZ_ACCOUNT"]}
REAL = {"model": MODEL, "training_file": FILE, "validation_file": FILE}


@schemathesis.hook
def map_body(_: Any, body: Any) -> Any:
    """Name a model and files that there are, where a body names any; not always: the others are cases too."""
    if not isinstance(body, dict) or len(str(body)) % 4 == 0:
        return body
    return body | {name: value for name, value in REAL.items() if isinstance(body.get(name), str)}


@schemathesis.hook
def filter_path_parameters(_: Any, path_parameters: Any) -> bool:
    """The key that all this is done with is neither revoked nor its account suspended."""
    return not (OWN & set(map(str, (path_parameters or {}).values())))
