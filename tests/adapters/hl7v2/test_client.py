"""The MLLP client against receivers of other makers, and against receivers that misbehave."""

import asyncio
import contextlib

import hl7
import pytest
from hl7.mllp import start_hl7_server

from adapters.hl7v2.ack import acknowledge
from adapters.hl7v2.client import DeliveryError, MllpClient
from adapters.hl7v2.framing import Frame, Framer, frame
from adapters.hl7v2.header import Header
from adapters.hl7v2.sites import Destination


def message(control_id: str) -> bytes:
    return (
        f"MSH|^~\\&|HARBOR|HSO|EHR|LAKESIDE|20260310161500-0400||ORU^R01^ORU_R01|{control_id}|P|2.5.1\r"
        "PID|1||00483921^^^LAKESIDE^MR\rOBR|1|PL-1|F-1|11488-4^Consult note^LN\r"
    ).encode()


def destination(port: int, **settings) -> Destination:
    return Destination("lakeside/report", "127.0.0.1", port, **{"acknowledgement_timeout_s": 2.0, **settings})


@contextlib.asynccontextmanager
async def receiver(*answers):
    """A receiver that gives each message the next of ``answers``: a function from its bytes to bytes, or None."""
    waiting = list(answers)
    connections = []

    async def serve(reader, writer):
        connections.append(writer)
        framer = Framer()
        while data := await reader.read(65536):
            for event in framer.feed(data):
                assert isinstance(event, Frame)
                answer = waiting.pop(0)(event.payload)
                if answer is not None:
                    writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], connections
        for writer in connections:
            writer.close()


def accepts(raw: bytes) -> bytes:
    return frame(acknowledge(Header.parse(raw), "AA"))


def answers_another_message(raw: bytes) -> bytes:
    return accepts(raw.replace(b"M1", b"M0"))


def says_nothing(raw: bytes) -> None:
    return None


async def test_python_hl7_receives_and_its_acknowledgement_is_understood():
    received = []

    async def serve(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                got = await reader.readmessage()
                received.append(str(got["MSH"][0][10]))
                writer.writemessage(got.create_ack())
                await writer.drain()
        writer.close()

    server = await start_hl7_server(serve, host="127.0.0.1", port=0, encoding="utf-8")
    async with server:
        client = MllpClient(destination(server.sockets[0].getsockname()[1], keep_connection=True))
        codes = [(await client.send(message(name), name))[1].code for name in ("M1", "M2")]
        await client.close()
    assert (codes, received) == (["AA", "AA"], ["M1", "M2"])


async def test_node_hl7_server_receives_and_its_acknowledgement_is_understood(node_peers, free_port):
    script = str(__file__).replace("test_client.py", "peers/node-server.mjs")
    process = await asyncio.create_subprocess_exec(
        "node", script, str(node_peers), str(free_port), stdout=asyncio.subprocess.PIPE
    )
    try:
        client = MllpClient(destination(free_port, acknowledgement_timeout_s=10))
        for _ in range(50):
            with contextlib.suppress(DeliveryError):
                answer, read = await client.send(message("M1"), "M1")
                break
            await asyncio.sleep(0.1)
        assert (read.code, read.control_id) == ("AA", "M1")
        assert hl7.parse(answer.decode())
        assert await asyncio.wait_for(process.stdout.readline(), 5) == b"M1\n"
    finally:
        process.terminate()
        await process.wait()


async def test_an_acknowledgement_of_another_message_is_an_error_and_closes_the_connection():
    async with receiver(answers_another_message, accepts) as (port, connections):
        client = MllpClient(destination(port))
        with pytest.raises(DeliveryError, match="MSA-2"):
            await client.send(message("M1"), "M1")
        assert (await client.send(message("M1"), "M1"))[1].code == "AA"
        assert len(connections) == 2


async def test_silence_is_an_error_and_a_late_answer_is_not_taken_for_the_next_message():
    async with receiver(says_nothing, accepts) as (port, connections):
        client = MllpClient(destination(port, acknowledgement_timeout_s=0.2))
        with pytest.raises(DeliveryError, match="no acknowledgement"):
            await client.send(message("M1"), "M1")
        connections[0].write(accepts(message("M1")))
        assert (await client.send(message("M2"), "M2"))[1].control_id == "M2"


async def test_a_second_acknowledgement_of_an_earlier_message_is_passed_over():
    def commits_and_accepts(raw):
        return frame(acknowledge(Header.parse(raw), "CA")) + accepts(raw)

    async with receiver(commits_and_accepts, accepts) as (port, connections):
        client = MllpClient(destination(port, keep_connection=True))
        assert (await client.send(message("M1"), "M1"))[1].code == "CA"
        assert (await client.send(message("M2"), "M2"))[1].control_id == "M2"
        assert len(connections) == 1
        await client.close()


async def test_a_message_that_was_refused_may_be_sent_again_on_the_same_connection():
    def is_in_trouble(raw):
        return frame(acknowledge(Header.parse(raw), "AE"))

    async with receiver(is_in_trouble, accepts) as (port, _):
        client = MllpClient(destination(port, keep_connection=True))
        assert [(await client.send(message("M1"), "M1"))[1].code for _ in range(2)] == ["AE", "AA"]
        await client.close()


async def test_an_answer_that_is_no_acknowledgement_is_an_error():
    async with receiver(lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n\x0b") as (port, _):
        with pytest.raises(DeliveryError):
            await MllpClient(destination(port)).send(message("M1"), "M1")


async def test_a_refused_connection_is_an_error(free_port):
    with pytest.raises(DeliveryError, match="ConnectionRefusedError"):
        await MllpClient(destination(free_port)).send(message("M1"), "M1")
