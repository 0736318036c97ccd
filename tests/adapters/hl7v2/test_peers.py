"""Senders of other makers against the whole receiving side, and what sloppy or hostile senders do to it."""

import asyncio
import base64
import contextlib

import hl7
import pytest
from hl7.mllp import open_hl7_connection

from adapters.hl7v2 import replay
from adapters.hl7v2.ack import Acknowledgement
from adapters.hl7v2.framing import frame
from adapters.hl7v2.server import Limits, MllpServer


@pytest.fixture
async def server(intake):
    running = MllpServer(intake, "127.0.0.1", 0, limits=Limits(stalled_frame_s=2))
    await running.start()
    yield running
    await running.stop(grace_s=2)


@pytest.fixture
def patients(database, everything):
    async def count(mrn: str) -> int:
        async with database.transaction(everything) as tx:
            return len(await tx.reader.find("Patient", identifier=f"https://lakeside.example/mrn|{mrn}"))

    return count


@contextlib.asynccontextmanager
async def connected(server):
    reader, writer = await asyncio.open_connection(*server.address)
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer(reader) -> Acknowledgement:
    raw = await asyncio.wait_for(reader.readuntil(b"\x1c\r"), 60)
    read = Acknowledgement.parse(raw.strip(b"\x0b\x1c\r") + b"\r")
    assert read is not None
    return read


async def test_python_hl7_sends_and_understands_the_acknowledgement(server, patients, adt):
    reader, writer = await open_hl7_connection(*server.address, encoding="utf-8")
    writer.writemessage(hl7.parse(adt("E1", mrn="E1", visit="E1").decode()))
    got = await asyncio.wait_for(reader.readmessage(), 10)
    writer.close()
    await writer.wait_closed()
    assert (str(got["MSA"][0][1]), str(got["MSA"][0][2]), await patients("E1")) == ("AA", "E1", 1)


async def test_node_hl7_client_sends_and_understands_the_acknowledgements(server, patients, adt, node_peers):
    script = str(__file__).replace("test_peers.py", "peers/node-client.mjs")
    raws = [adt(f"E2-{n}", mrn="E2", visit="E2", when=f"2026030208000{n}").decode() for n in range(3)]
    process = await asyncio.create_subprocess_exec(
        "node", script, str(node_peers), str(server.address[1]), *raws, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await asyncio.wait_for(process.communicate(), 30)
    assert said.decode().split("\n")[:3] == ["AA E2-0", "AA E2-1", "AA E2-2"]
    assert await patients("E2") == 1


async def test_two_messages_in_one_frame_are_both_stored_and_both_answered(server, patients, adt):
    async with connected(server) as (reader, writer):
        writer.write(frame(adt("E3-1", mrn="E3-1", visit="E3-1") + adt("E3-2", mrn="E3-2", visit="E3-2")))
        assert [(await answer(reader)).control_id for _ in range(2)] == ["E3-1", "E3-2"]
    assert (await patients("E3-1"), await patients("E3-2")) == (1, 1)


async def test_a_sender_of_one_byte_at_a_time_is_served(server, patients, adt):
    async with connected(server) as (reader, writer):
        for byte in frame(adt("E4", mrn="E4", visit="E4")):
            writer.write(bytes([byte]))
            await writer.drain()
        assert (await answer(reader)).code == "AA"
    assert await patients("E4") == 1


async def test_a_truncated_frame_stores_nothing_and_is_visible(server, database, patients, adt):
    async with connected(server) as (reader, writer):
        writer.write(frame(adt("E5", mrn="E5", visit="E5"))[:-30])
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 10) == b""
    assert await patients("E5") == 0
    [row] = [row for row in await replay.list_messages(database) if row.control_id == "E5"]
    assert row.status == "partial"


async def test_a_message_of_twenty_megabytes_with_a_pdf_is_stored_and_acknowledged(server, database, patients, oru):
    pdf = b"%PDF-1.7\n" + b"0123456789abcdef" * (15_000_000 // 16) + b"\n%%EOF"
    raw = oru("E6", mrn="E6", filler="E6")
    raw += b"OBX|2|ED|PDF^Report^L||LAB^application^pdf^Base64^" + base64.b64encode(pdf) + b"||||||F\r"
    assert len(raw) > 20_000_000
    async with connected(server) as (reader, writer):
        writer.write(frame(raw))
        await writer.drain()
        got = await answer(reader)
    assert got.code == "AA", got
    assert await patients("E6") == 1
    [row] = [row for row in await replay.list_messages(database) if row.control_id == "E6"]
    assert (row.status, row.size_bytes) == ("processed", len(raw))


async def test_base64_that_is_none_is_answered_ae_102_and_kept(server, database, patients, oru):
    raw = (
        oru("E7", mrn="E7", filler="E7")
        + b"OBX|2|ED|PDF^Report^L||LAB^application^pdf^Base64^%%%not base64%%%||||||F\r"
    )
    async with connected(server) as (reader, writer):
        writer.write(frame(raw))
        got = await answer(reader)
    assert (got.code, "102^Data type error" in got.text) == ("AE", True)
    assert await patients("E7") == 0


async def test_random_bytes_in_frames_are_answered_and_never_accepted(server, database):
    async with connected(server) as (reader, writer):
        for seed in range(20):
            writer.write(frame(bytes((seed * 31 + n * 7) % 251 + 1 for n in range(300)).translate(None, b"\x0b\x1c")))
            assert (await answer(reader)).code in ("AR", "AE")
    assert {row.status for row in await replay.list_messages(database, status="refused")} == {"refused"}


@pytest.mark.parametrize("msh", [
    b"MSH", b"MSH|", b"MSH||", b"MSH|^~\\&", b"MSH|^~\\&|EHR|LAKESIDE", b"MSH*^~\\&*EHR*LAKESIDE*****ADT^A01*E8*P*2.5",
    b"MSH|^~\\&|EHR|LAKESIDE|||x||ADT^A01|E8\x00|P|2.5", b"MSH|MSH|EHR|LAKESIDE|||||ADT^A01|E8|P|2.5",
    b"MSH|^~\\&|\xff\xfe|LAKESIDE|||||ADT^A01|E8|P|2.5", b"MSH|^~\\&|EHR|LAKESIDE|||||ADT^A01|" + b"9" * 5000 + b"|P|2",
])  # fmt: skip
async def test_a_broken_header_is_answered_and_the_connection_goes_on(server, adt, msh):
    async with connected(server) as (reader, writer):
        writer.write(frame(msh + b"\rPID|1||\r"))
        assert (await answer(reader)).code in ("AE", "AR")
        writer.write(frame(adt("E9", mrn="E9", visit="E9")))
        assert (await answer(reader)).code == "AA"


async def test_a_frame_that_stalls_is_closed_while_others_are_served(server, adt):
    async with connected(server) as (slow, slow_writer), connected(server) as (reader, writer):
        slow_writer.write(b"\x0bMSH|^~\\&|EHR|LAKE")
        writer.write(frame(adt("E10", mrn="E10", visit="E10")))
        assert (await answer(reader)).code == "AA"
        assert await asyncio.wait_for(slow.read(), 10) == b""
