"""Ports on loopback."""

from __future__ import annotations

import socket

from app.embedded.errors import PortInUse

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A port that nobody listens on, as of now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def claimed(port: int, host: str = LOOPBACK, *, setting: str) -> int:
    """`port`, if we could listen there. Raises `PortInUse`, naming the `setting` to change."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortInUse(
                f"port {port} on {host} is not to be had ({error.strerror}); stop what listens there, "
                f"or set {setting} to another port"
            ) from error
    return port
