"""Ports on loopback."""

from __future__ import annotations

import socket

import pytest

from app.embedded.errors import PortInUse
from app.embedded.ports import claimed, free_port


def test_a_port_that_somebody_listens_on_is_told_with_the_setting_to_change() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=rf"port {port} .*Address already in use.*TUNESMITH_KAFKA_PORT"):
            claimed(port, setting="TUNESMITH_KAFKA_PORT")


def test_a_free_port_can_be_listened_on() -> None:
    port = claimed(free_port(), setting="TUNESMITH_PORT")
    with socket.create_server(("127.0.0.1", port)):
        pass
