"""The acknowledgement builder, byte by byte."""

import hl7
import pytest

from adapters.hl7v2.ack import Acknowledgement, Fault, acknowledge
from adapters.hl7v2.header import Header

RAW = rb"MSH|^~\&|EHR^1.2^ISO|LAKESIDE^3.4^ISO|KONSIL^5^ISO|HARBOR|20260302||ADT^A01^ADT_A01|MSG 1|T|2.3|||||USA|8859/1"


def fields(raw: bytes, segment: str) -> list[str]:
    return next(line for line in raw.decode().split("\r") if line.startswith(segment)).split("|")


def answered(code: str, fault: Fault | None = None, raw: bytes = RAW) -> bytes:
    return acknowledge(Header.parse(raw), code, fault)


def test_sender_and_receiver_are_swapped_with_all_components():
    msh = fields(answered("AA"), "MSH")
    assert msh[2:6] == ["KONSIL^5^ISO", "HARBOR", "EHR^1.2^ISO", "LAKESIDE^3.4^ISO"]


def test_type_event_processing_id_version_and_charset_follow_the_message():
    msh = fields(answered("AA"), "MSH")
    assert (msh[8], msh[10], msh[11], msh[17]) == ("ACK^A01^ACK", "T", "2.3", "8859/1")


def test_msa_names_the_message_and_the_acknowledgement_has_an_id_of_its_own():
    first, second = answered("AA"), answered("AA")
    assert fields(first, "MSA") == ["MSA", "AA", "MSG 1"]
    assert fields(first, "MSH")[9] not in ("MSG 1", fields(second, "MSH")[9])
    assert 1 <= len(fields(first, "MSH")[9]) <= 20


def test_every_segment_ends_in_cr_and_only_cr():
    raw = answered("AE", Fault("101", "PID-3 is missing.", "PID^1^3"))
    assert raw.endswith(b"\r")
    assert b"\n" not in raw
    assert raw.count(b"\r") == 3


def test_a_fault_becomes_an_err_segment_with_location_code_severity_and_text():
    err = fields(answered("AE", Fault("101", "PID-3 is missing.", "PID^1^3")), "ERR")
    assert err == ["ERR", "", "PID^1^3", "101^Required field missing^HL70357", "E", "", "", "", "PID-3 is missing."]


def test_delimiters_of_the_sender_are_used_and_escaped_in_texts():
    raw = acknowledge(Header.parse(b"MSH#*%!@#EHR#L#K#H###ADT*A08#M1#P#2.5\r"), "AE", Fault("102", "a#b*c|d", "PID*1"))
    assert raw.startswith(b"MSH#*%!@#K#H#EHR#L#")
    assert b"ACK*A08*ACK" in raw
    assert b"a!F!b!S!c|d" in raw


def test_texts_carry_no_control_characters_so_no_segment_can_be_injected():
    raw = answered("AE", Fault("102", "one\rMSA|AA|MSG 1\x0b\x1c", ""))
    assert [line[:3] for line in raw.split(b"\r")] == [b"MSH", b"MSA", b"ERR", b""]
    assert not {0x0B, 0x1C} & set(raw)


def test_bytes_without_msh_still_get_a_well_formed_answer():
    raw = acknowledge(None, "AR", Fault("100", "The message does not begin with an MSH segment.", "MSH^1"))
    assert fields(raw, "MSA") == ["MSA", "AR", "", "The message does not begin with an MSH segment."]


@pytest.mark.parametrize("code", ["AA", "AE", "AR", "CA", "CE", "CR"])
def test_another_library_reads_the_acknowledgement(code):
    parsed = hl7.parse(answered(code, Fault("101", "x", "PID^1^3")).decode())
    assert (str(parsed["MSA"][0][1]), str(parsed["MSA"][0][2])) == (code, "MSG 1")


def test_our_reader_reads_another_librarys_acknowledgement():
    raw = str(hl7.parse(RAW.decode() + "\r").create_ack("AE")).encode()
    assert Acknowledgement.parse(raw) == Acknowledgement("AE", "MSG 1", "")


def test_an_answer_without_msa_is_no_acknowledgement():
    assert Acknowledgement.parse(RAW) is None
    assert Acknowledgement.parse(b"OK") is None
