"""One webhook sent to a real server, or not: what is connected to is what was judged."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from ipaddress import ip_network
from pathlib import Path

import pytest

from app.webhooks.posting import Outcome, Poster
from tests.receiver import Got, Receiver, answer, receiving

LOOPBACK = (ip_network("127.0.0.0/8"),)


class Names:
    """A name server: what each look-up of a name gives, the last of them ever again."""

    def __init__(self, **names: list[list[str]]) -> None:
        self.names, self.asked = names, 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        found = self.names[host.partition(".")[0]]
        return found.pop(0) if len(found) > 1 else found[0]


async def posted(receiver: Receiver, host: str = "127.0.0.1", names: Names | None = None) -> Outcome:
    poster = Poster(LOOPBACK, within=0.4, **({"resolve": names} if names else {}))  # type: ignore[arg-type]
    try:
        return await poster.post(f"http://{host}:{receiver.port}/hook?x=1", {"webhook-id": "whd-1"}, b"{}")
    finally:
        await poster.close()


async def test_it_goes_to_the_address_that_was_judged_under_the_name_that_was_given() -> None:
    names = Names(hook=[["127.0.0.2", "127.0.0.1"]])  # nobody listens on the first
    async with receiving() as receiver:
        outcome = await posted(receiver, "hook.example", names)
        assert outcome.accepted, outcome
        assert names.asked == 1, "a second look-up could give another address"
        [got] = receiver.got
        assert (got.target, got.body) == ("/hook?x=1", b"{}")
        assert got.headers["host"] == f"hook.example:{receiver.port}"


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"]])
async def test_of_a_name_with_an_address_inside_none_is_connected_to(addresses: list[str]) -> None:
    async with receiving() as receiver:
        outcome = await posted(receiver, "hook.example", Names(hook=[addresses]))
        assert not outcome.accepted
        assert "leads to a private address" in (outcome.error or "")
        assert receiver.got == []


async def test_a_name_that_changes_its_mind_between_two_requests_gains_nothing() -> None:
    names = Names(hook=[["127.0.0.1"], ["169.254.169.254"]])
    async with receiving() as receiver:
        assert (await posted(receiver, "hook.example", names)).accepted
        assert "link-local" in ((await posted(receiver, "hook.example", names)).error or "")
        assert len(receiver.got) == 1


async def test_tls_is_spoken_with_the_name_and_not_the_address() -> None:
    async with receiving() as receiver:
        hello: list[bytes] = []

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            hello.append(await reader.read(4096))
            writer.close()

        server = await asyncio.start_server(listen, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        poster = Poster(LOOPBACK, within=5.0, resolve=Names(hook=[["127.0.0.1"]]))
        outcome = await poster.post(f"https://hook.example:{port}/", {}, b"{}")
        await poster.close()
        server.close()
    assert outcome.error is not None
    assert b"hook.example" in hello[0]
    assert receiver.got == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to make a certificate with")
async def test_a_certificate_must_be_trusted_and_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=hook"
    name = "subjectAltName=DNS:hook.example"
    wanted = [*make.split(), "-addext", name, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(wanted, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    names = Names(hook=[["127.0.0.1"]], other=[["127.0.0.1"]])
    async with receiving(tls) as receiver:

        async def sent(host: str) -> Outcome:
            poster = Poster(LOOPBACK, within=20.0, resolve=names)
            try:
                return await poster.post(f"https://{host}:{receiver.port}/", {}, b"{}")
            finally:
                await poster.close()

        stranger = await sent("hook.example")
        assert (stranger.answer, receiver.got) == (None, [])
        assert stranger.error is not None
        assert stranger.error.startswith("the certificate of hook.example is not trusted: ")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert (await sent("hook.example")).accepted
        elsewhere = await sent("other.example")
        assert elsewhere.error is not None
        assert "is not trusted: " in elsewhere.error
        assert "other.example" in elsewhere.error
        assert len(receiver.got) == 1


async def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with receiving() as receiver:
        assert (await posted(receiver)).accepted


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with receiving() as receiver, receiving() as inside:
        receiver.answers(answer(302, location=inside.url))
        outcome = await posted(receiver)
        assert outcome.answer is not None
        assert (outcome.accepted, outcome.answer.status, inside.got) == (False, 302, [])
        assert outcome.answer.headers["location"] == inside.url


async def test_of_a_huge_answer_the_beginning_is_read() -> None:
    sent = 0

    async def respond(got: Got, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\nx-long: " + b"h" * 5000 + b"\r\n\r\n")
        while sent < 1000:
            writer.write(b"\0" * 2**16)
            await writer.drain()
            sent += 1

    async with receiving() as receiver:
        receiver.respond = respond
        outcome = await posted(receiver)
    assert outcome.answer is not None
    assert outcome.accepted
    assert outcome.answer.cut
    assert outcome.answer.body == "�" * 2048
    assert outcome.answer.headers == {"content-length": "1000000000"}
    assert sent < 200


async def test_who_does_not_answer_in_time_has_not_accepted_it() -> None:
    async def silent(got: Got, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    async def dripping(got: Got, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async def yes_and_no_more(got: Got, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 202 Yes\r\ncontent-length: 10\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(30)

    async with receiving() as receiver:
        for respond, accepted in ((silent, False), (dripping, False), (yes_and_no_more, True)):
            receiver.respond = respond
            outcome = await posted(receiver)
            assert outcome.accepted == accepted
            assert outcome.seconds < 2


@pytest.mark.parametrize("host", ["nobody.invalid", "127.0.0.1:1"])
async def test_why_there_was_no_answer_is_told(host: str) -> None:
    poster = Poster(LOOPBACK, within=5.0)
    outcome = await poster.post(f"http://{host}/", {}, b"{}")
    await poster.close()
    assert outcome.answer is None
    assert outcome.error
