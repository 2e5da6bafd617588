"""The real program, started as its operator would.

`service`   a `tunesmith-server up` for the module, with the settings of a first start
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.running import Service, running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("service")) as service:
        yield service
