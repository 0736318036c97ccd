"""The MLLP server on real sockets, with a receiver that is a plain function."""

import asyncio
import contextlib
import time

import pytest

from adapters.hl7v2.ack import Acknowledgement, acknowledge
from adapters.hl7v2.framing import frame
from adapters.hl7v2.header import Header
from adapters.hl7v2.server import Limits, MllpServer


def message(control_id: str, text: str = "x") -> bytes:
    return (
        f"MSH|^~\\&|EHR|LAKESIDE|||20260302080000||ADT^A01|{control_id}|P|2.5.1\r"
        f"PID|1||1^^^LAKESIDE^MR\rNTE|1||{text}\r"
    ).encode()


class Recorder:
    """A receiver that remembers, and answers AA after ``delay_s``."""

    def __init__(self, delay_s: float = 0, answer: bool = True) -> None:
        self.received: list[bytes] = []
        self.discarded: list[tuple[str, bytes]] = []
        self.delay_s = delay_s
        self.answer = answer

    async def receive(self, raw, _peer):
        await asyncio.sleep(self.delay_s)
        self.received.append(raw)
        return acknowledge(Header.parse(raw), "AA") if self.answer else None

    async def discard(self, raw, _peer, reason):
        self.discarded.append((reason, raw))
        return acknowledge(Header.parse(raw), "AR") if reason == "oversize" else None


@contextlib.asynccontextmanager
async def serving(receiver, **limits):
    server = MllpServer(receiver, "127.0.0.1", 0, limits=Limits(**limits))
    await server.start()
    try:
        yield server
    finally:
        await server.stop(grace_s=2)


@contextlib.asynccontextmanager
async def connected(server):
    reader, writer = await asyncio.open_connection(*server.address)
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer(reader) -> Acknowledgement:
    raw = await asyncio.wait_for(reader.readuntil(b"\x1c\r"), 5)
    read = Acknowledgement.parse(raw.strip(b"\x0b\x1c\r") + b"\r")
    assert read is not None
    return read


async def test_a_message_is_answered_with_its_own_control_id():
    async with serving(Recorder()) as server, connected(server) as (reader, writer):
        writer.write(frame(message("M1")))
        assert (await answer(reader)).control_id == "M1"


async def test_messages_of_one_connection_are_processed_one_after_the_other_in_order():
    receiver = Recorder(delay_s=0.01)
    async with serving(receiver) as server, connected(server) as (reader, writer):
        sent = [message(f"M{n}") for n in range(5)]
        writer.write(b"".join(frame(raw) for raw in sent))
        assert [(await answer(reader)).control_id for _ in sent] == ["M0", "M1", "M2", "M3", "M4"]
        assert receiver.received == sent


async def test_a_sender_of_one_byte_at_a_time_is_served():
    async with serving(Recorder()) as server, connected(server) as (reader, writer):
        for byte in frame(message("M1")):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert (await answer(reader)).control_id == "M1"


async def test_two_messages_in_one_frame_are_both_processed_and_both_answered():
    receiver = Recorder()
    async with serving(receiver) as server, connected(server) as (reader, writer):
        writer.write(frame(message("M1") + message("M2")))
        assert [(await answer(reader)).control_id for _ in range(2)] == ["M1", "M2"]
        assert receiver.received == [message("M1"), message("M2")]


async def test_a_message_without_the_final_cr_is_answered():
    async with serving(Recorder()) as server, connected(server) as (reader, writer):
        writer.write(frame(message("M1"))[:-1])
        assert (await answer(reader)).control_id == "M1"


async def test_a_message_of_twenty_megabytes_is_received_whole():
    receiver = Recorder()
    raw = message("M1", "A" * 20_000_000)
    async with serving(receiver) as server, connected(server) as (reader, writer):
        writer.write(frame(raw))
        await writer.drain()
        assert (await answer(reader)).code == "AA"
        assert receiver.received == [raw]


async def test_a_truncated_frame_is_discarded_and_never_answered():
    receiver = Recorder()
    async with serving(receiver) as server:
        async with connected(server) as (reader, writer):
            writer.write(frame(message("M1"))[:50])
            writer.write_eof()
            assert await asyncio.wait_for(reader.read(), 5) == b""
        assert receiver.received == []
        assert receiver.discarded == [("partial", frame(message("M1"))[1:50])]


async def test_an_endless_frame_is_answered_ar_and_the_connection_closed():
    receiver = Recorder()
    async with serving(receiver, frame_bytes=10_000) as server, connected(server) as (reader, writer):
        writer.write(b"\x0b" + message("M1", "A" * 200_000))
        assert (await answer(reader)).code == "AR"
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        assert [reason for reason, _ in receiver.discarded] == ["oversize"]


async def test_a_message_the_receiver_cannot_answer_closes_the_connection_without_an_answer():
    async with serving(Recorder(answer=False)) as server, connected(server) as (reader, writer):
        writer.write(frame(message("M1")))
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_frame_that_stalls_is_given_up():
    receiver = Recorder()
    async with serving(receiver, stalled_frame_s=0.2) as server, connected(server) as (reader, writer):
        writer.write(frame(message("M1"))[:30])
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert [reason for reason, _ in receiver.discarded] == ["partial"]


async def test_an_idle_connection_is_closed():
    async with serving(Recorder(), idle_s=0.2) as server, connected(server) as (reader, _):
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_connections_over_the_cap_are_closed_and_the_others_served():
    async with serving(Recorder(), connections=2) as server, contextlib.AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(connected(server)) for _ in range(2)]
        await asyncio.sleep(0.05)
        third, _ = await stack.enter_async_context(connected(server))
        assert await asyncio.wait_for(third.read(), 5) == b""
        for number, (reader, writer) in enumerate((first, second)):
            writer.write(frame(message(f"M{number}")))
            assert (await answer(reader)).control_id == f"M{number}"


async def test_stopping_answers_the_message_in_hand_and_closes_idle_connections():
    receiver = Recorder(delay_s=0.3)
    server = MllpServer(receiver, "127.0.0.1", 0)
    await server.start()
    async with connected(server) as (reader, writer), connected(server) as (idle, _):
        writer.write(frame(message("M1")))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await server.stop(grace_s=5)
        assert time.monotonic() - began < 2
        assert (await answer(reader)).control_id == "M1"
        assert await idle.read() == b""


async def test_a_sender_that_leaves_before_its_answer_harms_nobody():
    receiver = Recorder(delay_s=0.1)
    async with serving(receiver) as server:
        async with connected(server) as (_, writer):
            writer.write(frame(message("M1")))
            await writer.drain()
        async with connected(server) as (reader, writer):
            writer.write(frame(message("M2")))
            assert (await answer(reader)).control_id == "M2"


def test_plain_mllp_is_for_loopback_only_unless_it_is_allowed():
    with pytest.raises(ValueError, match="TLS"):
        MllpServer(Recorder(), "0.0.0.0", 2575)  # noqa: S104 - the refusal of this address is what is tested
    MllpServer(Recorder(), "0.0.0.0", 2575, allow_plain=True)  # noqa: S104 - as above
    MllpServer(Recorder(), "localhost", 2575)


async def test_ports_that_sites_have_for_themselves_are_listened_on_too(free_port):
    server = MllpServer(Recorder(), "127.0.0.1", 0, site_ports=[free_port])
    await server.start()
    for port in (server.address[1], free_port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(frame(message("M1")))
        assert (await answer(reader)).control_id == "M1"
        writer.close()
    await server.stop()
