"""Where webhooks may go: to no address inside, unless the operator allows it.

Clients name the URLs that this service calls. What it can reach and they cannot, such as a cloud's metadata
or a database without a password, must stay out of their reach.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpx

LOOKED_UP_WITHIN = 2.0
LARGEST_PORT = 65535
ALLOWED_BY = "the operator may allow it by TUNESMITH_WEBHOOK_ALLOW"

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Awaitable[list[str]]]

# The registries of special-purpose addresses (RFC 6890 and after), and what clouds answer on beside them.
CLOSED: tuple[tuple[IPv4Network, str], ...] = tuple(
    (IPv4Network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "reserved"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "private"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "metadata"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "reserved"),
        ("198.51.100.0/24", "reserved"),
        ("203.0.113.0/24", "reserved"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
# Of IPv6 global unicast is open, but for these; whatever tunnels to an IPv4 address is among them.
OPEN6 = IPv6Network("2000::/3")
CLOSED6 = tuple(IPv6Network(one) for one in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
NAT64 = IPv6Network("64:ff9b::/96")
KINDS6: tuple[tuple[IPv6Network, str], ...] = (
    (IPv6Network("::1/128"), "loopback"),
    (IPv6Network("fc00::/7"), "private"),
    (IPv6Network("fe80::/10"), "link-local"),
    (IPv6Network("ff00::/8"), "multicast"),
)


def url_fault(text: str) -> str | None:
    """What is wrong with a URL as it is written; None when nothing is."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        return f"it is no URL: {error}"
    if url.scheme not in ("https", "http"):
        return "it must begin with https:// or http://"
    if not url.host:
        return "it names no host"
    if url.port is not None and not 1 <= url.port <= LARGEST_PORT:
        return f"its port must be from 1 to {LARGEST_PORT}"
    if url.userinfo:
        return "it must hold no user or password: every request is signed instead"
    return None


async def resolve(host: str, port: int) -> list[str]:
    """Every address of a host. Raises OSError when it has none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def refusal(
    text: str, allowed: Sequence[Network], resolve: Resolve = resolve, within: float = LOOKED_UP_WITHIN
) -> str | None:
    """Why no webhook may go to a URL; None when one may. A name that is not known now is asked for later."""
    if (fault := url_fault(text)) is not None:
        return fault
    url = httpx.URL(text)
    host = url.raw_host.decode()
    try:
        async with asyncio.timeout(within):
            addresses = await resolve(host, port_of(url))
    except (OSError, UnicodeError):
        return None
    return host_refusal(host, addresses, allowed)


def port_of(url: httpx.URL) -> int:
    """The port that a URL leads to."""
    return url.port or (443 if url.scheme == "https" else 80)


def host_refusal(host: str, addresses: Sequence[str], allowed: Sequence[Network]) -> str | None:
    """Why a host with these addresses may not be called: one that is closed is enough.

    The address is not told: a name inside would be looked up for whoever asks.
    """
    for address in addresses:
        if (kind := closed(address, allowed)) is not None:
            return f"{host} leads to a {kind} address; {ALLOWED_BY}"
    return None


def closed(address: str, allowed: Sequence[Network]) -> str | None:
    """The kind of an address that no webhook may go to; None when one may."""
    found = _meant(ip_address(address.partition("%")[0]))
    if any(found in network for network in allowed if network.version == found.version):
        return None
    if isinstance(found, IPv4Address):
        return next((kind for network, kind in CLOSED if found in network), None)
    if found in OPEN6 and not any(found in network for network in CLOSED6):
        return None
    return next((kind for network, kind in KINDS6 if found in network), "reserved")


def _meant(address: Address) -> Address:
    """The address that is reached: an IPv4 one where an IPv6 one stands for it."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
