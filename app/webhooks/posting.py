"""One POST to an address that a client named, which is looked up, judged and connected to as the same one."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import httpcore
import httpx
from msgspec import Meta, Struct

from app.webhooks.addresses import Network, Resolve, host_refusal, resolve, url_fault

ANSWERED_WITHIN = 10.0
MOST_READ = 64 * 1024
MOST_KEPT = 2 * 1024
MOST_HEADERS = 4 * 1024


class AddressRefused(Exception):
    """The host leads where no webhook may go."""


class WebhookAnswer(Struct, frozen=True):
    """What came back: the first headers and the beginning of the body; `cut` when there was more of it."""

    status: Annotated[int, Meta(description="The HTTP status.")]
    headers: Annotated[dict[str, str], Meta(description="The first 4 KiB of them.")]
    body: Annotated[str, Meta(description="The first 2 KiB, as text.")]
    cut: Annotated[bool, Meta(description="Whether there was more of either.")]


class Outcome(Struct, frozen=True):
    """How a POST ended: an answer, or why there is none; `seconds` is how long it took."""

    seconds: float
    answer: WebhookAnswer | None = None
    error: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether the receiver has taken it."""
        return self.answer is not None and 200 <= self.answer.status < 300


class Guarded(httpcore.AsyncNetworkBackend):
    """Connects to the very addresses that were judged: a name that changes its mind gains nothing."""

    def __init__(self, allowed: Sequence[Network], resolve: Resolve) -> None:
        self._allowed, self._resolve = allowed, resolve
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._resolve(host, port)
        if (why := host_refusal(host, addresses, self._allowed)) is not None:
            raise AddressRefused(why)
        failed: Exception = OSError(f"{host} has no address")
        for address in addresses:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed


class Poster:
    """Sends webhooks. No redirect is followed, no proxy asked, nothing unpacked, no connection kept.

    Certificates must be of a public authority, or of those in `SSL_CERT_FILE` or `SSL_CERT_DIR` when set.
    """

    def __init__(
        self,
        allowed: Sequence[Network],
        *,
        within: float = ANSWERED_WITHIN,
        resolve: Resolve = resolve,
        most_connections: int = 100,
    ) -> None:
        self._within = within
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            network_backend=Guarded(allowed, resolve),
            max_connections=most_connections,
            max_keepalive_connections=0,
        )

    async def close(self) -> None:
        await self._pool.aclose()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """POST and read the beginning of the answer."""
        began = time.monotonic()
        heard: list[WebhookAnswer] = []
        error: str | None = None
        try:
            async with asyncio.timeout(self._within):
                await self._post(url, headers, body, heard)
        except TimeoutError:
            error = f"there was no whole answer within {self._within:g} s"
        except AddressRefused as refused:
            error = str(refused)
        except socket.gaierror:
            error = "the host's name is not known"
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.TimeoutException,
            httpcore.UnsupportedProtocol,
            OSError,
            UnicodeError,
        ) as failed:
            error = _why(url, failed)
        answer = heard[-1] if heard else None
        # Whoever said yes has it, whatever becomes of the rest of the answer.
        return Outcome(time.monotonic() - began, answer, None if answer else error)

    async def _post(
        self, url: str, headers: Mapping[str, str], body: bytes, heard: list[WebhookAnswer]
    ) -> None:
        if (fault := url_fault(url)) is not None:
            raise AddressRefused(fault)
        to = httpx.URL(url)
        async with self._pool.stream(
            "POST",
            httpcore.URL(scheme=to.raw_scheme, host=to.raw_host, port=to.port, target=to.raw_path),
            headers=[
                (b"host", to.netloc),
                *((name.encode(), value.encode()) for name, value in headers.items()),
            ],
            content=body,
        ) as response:
            told = _told(response.headers)
            heard.append(WebhookAnswer(response.status, told, "", cut=False))
            content = bytearray()
            async for chunk in response.aiter_stream():
                content += chunk
                if len(content) > MOST_READ:
                    break
            text = bytes(content[:MOST_KEPT]).decode(errors="replace").replace("\0", "�")
            heard.append(WebhookAnswer(response.status, told, text, cut=len(content) > MOST_KEPT))


def _why(url: str, failed: Exception) -> str:
    """Why there was no answer, in words."""
    for reason in failed.args:
        if isinstance(reason, ssl.SSLCertVerificationError):
            return f"the certificate of {httpx.URL(url).host} is not trusted: {reason.verify_message}"
    return f"there was no answer: {type(failed).__name__} {failed}".rstrip()


def _told(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The first headers, as text."""
    told: dict[str, str] = {}
    room = MOST_HEADERS
    for name, value in headers:
        room -= len(name) + len(value)
        if room < 0:
            break
        told[name.decode("ascii", "replace").lower()] = value.decode("latin-1").replace("\0", "�")
    return told
