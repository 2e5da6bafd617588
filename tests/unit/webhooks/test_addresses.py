"""Where webhooks may go: nothing inside is reached, however it is written or named."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from app.webhooks.addresses import closed, host_refusal, refusal, url_fault

CLOSED = [
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("10.0.0.1", "private"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.168.1.1", "private"),
    ("100.64.0.1", "private"),
    ("100.100.100.200", "private"),
    ("169.254.169.254", "link-local"),
    ("168.63.129.16", "metadata"),
    ("0.0.0.0", "reserved"),
    ("192.0.0.192", "reserved"),
    ("198.18.0.1", "reserved"),
    ("224.0.0.1", "multicast"),
    ("255.255.255.255", "reserved"),
    ("::", "reserved"),
    ("::1", "loopback"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "link-local"),
    ("fc00::1", "private"),
    ("fd00:ec2::254", "private"),
    ("fec0::1", "reserved"),
    ("ff02::1", "multicast"),
    ("::ffff:127.0.0.1", "loopback"),
    ("::ffff:169.254.169.254", "link-local"),
    ("::127.0.0.1", "reserved"),
    ("64:ff9b::10.0.0.1", "private"),
    ("64:ff9b:1::10.0.0.1", "reserved"),
    ("2002:7f00:1::", "reserved"),
    ("2001::1", "reserved"),
    ("2001:db8::1", "reserved"),
]
OPEN = ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]


@pytest.mark.parametrize(("address", "kind"), CLOSED)
def test_no_webhook_goes_to_an_address_inside(address: str, kind: str) -> None:
    assert closed(address, ()) == kind


@pytest.mark.parametrize("address", OPEN)
def test_a_webhook_goes_to_an_address_outside(address: str) -> None:
    assert closed(address, ()) is None


def test_the_operator_opens_networks_and_no_more() -> None:
    allowed = (ip_network("10.1.0.0/16"), ip_network("::1/128"))
    assert closed("10.1.2.3", allowed) is None
    assert closed("::ffff:10.1.2.3", allowed) is None
    assert closed("::1", allowed) is None
    assert closed("10.2.0.1", allowed) == "private"
    assert closed("127.0.0.1", allowed) == "loopback"


def test_of_two_addresses_one_inside_is_enough_to_refuse_both() -> None:
    assert host_refusal("two.example", ["8.8.8.8", "8.8.4.4"], ()) is None
    for addresses in (["8.8.8.8", "10.0.0.1"], ["10.0.0.1", "8.8.8.8"]):
        why = host_refusal("two.example", addresses, ())
        assert why is not None
        assert why.startswith("two.example leads to a private address;")
        assert "10.0.0.1" not in why, "it would tell what names mean inside"


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("ftp://example.org/", "https://"),
        ("example.org/hook", "https://"),
        ("https:///hook", "no host"),
        ("https://me:secret@example.org/", "user"),
        ("https://me@example.org/", "user"),
        ("https://example.org:99999/", "port"),
        ("https://example.org:0/", "port"),
        ("http://0177.0.0.1/", "no URL"),
        ("https://exa\nmple.org/", "no URL"),
        ("", "https://"),
    ],
)
def test_a_url_that_cannot_be_one_is_told_apart(url: str, fault: str) -> None:
    assert fault in (url_fault(url) or "")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "127.1", "[::ffff:7f00:1]"],
)
async def test_loopback_is_refused_however_it_is_written(host: str) -> None:
    why = await refusal(f"http://{host}:8080/hook", ())
    assert why is not None
    assert "a loopback address" in why


async def test_a_name_that_nobody_knows_now_may_be_known_later() -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise OSError(host)

    assert await refusal("https://later.example/", (), unknown) is None
