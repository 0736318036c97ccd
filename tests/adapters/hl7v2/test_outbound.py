import base64
from datetime import datetime
from zoneinfo import ZoneInfo

import hl7
import pytest
from hl7apy.exceptions import ValidationError
from hl7apy.parser import parse_message
from hl7apy.validation import Validator
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7v2.convert import convert
from adapters.hl7v2.outbound import Envelope, Report, mdm_t02, oru_r01
from adapters.hl7v2.site_mapping import SiteMapping
from adapters.hl7v2.tokenizer import Message

SITE = SiteMapping.from_config(
    "LAKESIDE",
    {
        "zone": "America/New_York",
        "authorities": {
            "LAKESIDE": {
                "MR": "https://lakeside.example/mrn",
                "PLAC": "https://lakeside.example/placer",
                "VN": "https://lakeside.example/visit",
            },
            "HARBOR": "https://harbor.example/case",
        },
    },
)


def identifier(system, value, kind):
    return {"system": system, "value": value, "type": {"coding": [{"code": kind}]}}


REPORT = {
    "resourceType": "DiagnosticReport",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "11488-4", "display": "Consult note"}]},
    "effectiveDateTime": "2026-03-10T16:00:00-04:00",
    "issued": "2026-03-10T16:15:00-04:00",
    "conclusionCode": [{"coding": [{"code": "other-plan", "display": "Agrees diagnosis; different plan"}]}],
}
PATIENT = {
    "resourceType": "Patient",
    "identifier": [identifier("https://lakeside.example/mrn", "00483921", "MR")],
    "name": [{"family": "ALVAREZ", "given": ["MARIA"]}],
    "birthDate": "1961-04-12",
    "gender": "female",
}
ORDER = {
    "resourceType": "ServiceRequest",
    "identifier": [
        identifier("https://lakeside.example/placer", "PL-5567", "PLAC"),
        identifier("https://harbor.example/case", "SO-2026-000042", "FILL"),
    ],
}
RAO = {
    "resourceType": "Practitioner",
    "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}],
    "name": [{"family": "RAO", "given": ["ANIL"]}],
}
ENCOUNTER = {
    "resourceType": "Encounter",
    "class": {"code": "AMB"},
    "identifier": [identifier("https://lakeside.example/visit", "V-90305", "VN")],
}
PDF = b"%PDF-1.4\n" + bytes(range(256)) * 40
SENT = datetime(2026, 3, 10, 16, 15, tzinfo=ZoneInfo("America/New_York"))
ENVELOPE = Envelope("H77001", SENT, "HARBOR", "HSO", "EHR", "LAKESIDE")
NUMBER = {"system": "https://harbor.example/case", "value": "SO-2026-000042.1"}


def content(text="First line.\n\nSecond line.", **changes):
    given_parts = {"report": REPORT, "patient": PATIENT, "order": ORDER, "text": text, "pdf": PDF, "requester": RAO}
    return Report(**{**given_parts, "author": RAO, "document_number": NUMBER, **changes})


def test_the_report_goes_out_as_the_results_message_of_the_acceptance_script():
    lines = oru_r01(content(), ENVELOPE, SITE).decode().split("\r")
    rao = "1234567893^RAO^ANIL^^^^^^NPI"
    numbers = "PL-5567^LAKESIDE|SO-2026-000042^HARBOR"
    assert lines[:-2] == [
        r"MSH|^~\&|HARBOR|HSO|EHR|LAKESIDE|20260310161500-0400||ORU^R01^ORU_R01|H77001|P|2.5.1||||||UNICODE UTF-8",
        "PID|1||00483921^^^LAKESIDE^MR||ALVAREZ^MARIA||19610412|F",
        f"ORC|RE|{numbers}||CM|||||||{rao}",
        f"OBR|1|{numbers}|11488-4^Consult note^LN|||20260310160000-0400|||||||||{rao}||||||20260310161500-0400|||F",
        "OBX|1|TX|so-outcome^Concordance^L||Agrees diagnosis; different plan||||||F",
        "OBX|2|TX|11488-4^Consult note^LN|1|First line.||||||F",
        "OBX|3|TX|11488-4^Consult note^LN|2|Second line.||||||F",
    ]
    assert lines[-2].startswith("OBX|4|ED|PDF^Second opinion report^L||HARBOR^application^pdf^Base64^JVBERi0xLjQK")
    assert lines[-1] == ""


def test_the_report_goes_out_as_a_legally_authenticated_document():
    message = Message.parse(mdm_t02(content(encounter=ENCOUNTER), ENVELOPE, SITE))
    assert [segment.name for segment in message.segments] == ["MSH", "EVN", "PID", "PV1", "TXA", "OBX", "OBX", "OBX"]
    assert message.get("PV1-2") == "O"
    assert message.get("PV1-19.1") == "V-90305"
    assert message.get("TXA-2") == "CN"
    assert message.get("TXA-12") == "SO-2026-000042.1^HARBOR"
    assert (message.get("TXA-17"), message.get("TXA-19")) == ("LA", "AV")


@pytest.mark.parametrize("write", [oru_r01, mdm_t02])
def test_the_pdf_is_the_same_bytes_in_both_messages_without_line_breaks(write):
    message = Message.parse(write(content(), ENVELOPE, SITE))
    data = message.values("OBX[*]-5.5")[-1]
    assert base64.b64decode(data, validate=True) == PDF


def test_a_corrected_report_says_so():
    message = Message.parse(oru_r01(content(report={**REPORT, "status": "corrected"}), ENVELOPE, SITE))
    assert message.get("OBR-25") == "C"
    assert set(message.values("OBX[*]-11")) == {"C"}


def test_a_receiver_may_want_other_names_for_a_pdf():
    message = Message.parse(oru_r01(content(ed=("AP", "PDF")), ENVELOPE, SITE))
    assert message.values("OBX[*]-5.3")[-1] == "PDF"


def test_an_unknown_identifier_system_goes_out_as_universal_id():
    patient = {**PATIENT, "identifier": [identifier("urn:oid:1.2.3", "7", "MR"), identifier("https://x", "8", "PI")]}
    message = Message.parse(oru_r01(content(patient=patient), ENVELOPE, SITE))
    assert message.get("PID-3") == "7^^^&1.2.3&ISO^MR"
    assert message.get("PID-3[2]") == "8^^^&https://x&URI^PI"


hostile = st.text(st.characters(blacklist_categories=["Cs"])) | st.sampled_from(
    ["a\rMSH|^~\\&|EVIL", "\r\nPID|1||9", "~^&|\\", "\\F\\", "\x0b\x1c\r", "OBX|1\nOBX|2"]
)


@given(hostile, hostile)
def test_no_text_of_a_report_can_add_a_segment_or_a_field(text, name):
    patient = {**PATIENT, "name": [{"family": f"A{name}", "given": [name or "B"]}]}
    lines = [line for line in text.splitlines() if line.strip()]
    for raw in (oru_r01(content(text, patient=patient), ENVELOPE, SITE), mdm_t02(content(text), ENVELOPE, SITE)):
        message = Message.parse(raw)
        observations = [segment for segment in message.segments if segment.name == "OBX"]
        expected = len(lines) + 1 + (message.get("MSH-9.1") == "ORU")
        assert len(observations) == expected
        assert {len(segment.fields) for segment in observations} == {12}
        assert raw.count(b"MSH|") == 1
        assert not {b"\n", b"\x0b", b"\x1c"} & {raw[at : at + 1] for at in range(len(raw))}


def test_what_goes_out_comes_back_in():
    conversion = convert(Message.parse(oru_r01(content("Diagnosis | plan ^ of <IIIA> & more"), ENVELOPE, SITE)), SITE)
    by_type = {entry.resource["resourceType"]: entry.resource for entry in conversion.resources}
    assert by_type["Patient"]["identifier"][0]["value"] == "00483921"
    assert by_type["DiagnosticReport"]["code"]["coding"][0]["code"] == "11488-4"
    assert base64.b64decode(by_type["Binary"]["data"]) == PDF
    texts = [e.resource.get("valueString") for e in conversion.resources if e.resource["resourceType"] == "Observation"]
    assert texts == ["Agrees diagnosis; different plan", "Diagnosis | plan ^ of <IIIA> & more"]


@pytest.mark.parametrize("write", [oru_r01, mdm_t02])
def test_python_hl7_reads_what_we_send(write):
    parsed = hl7.parse(write(content(), ENVELOPE, SITE).decode())
    assert str(parsed.segment("PID")[3][0][0][0]) == "00483921"
    assert len(parsed.segments("OBX")) >= 3


@pytest.mark.parametrize("write", [oru_r01, mdm_t02])
@pytest.mark.filterwarnings("ignore::DeprecationWarning:hl7apy")
def test_the_linter_finds_no_fault_in_what_we_send(write):
    message = parse_message(write(content(encounter=ENCOUNTER), ENVELOPE, SITE).decode(), find_groups=True)
    assert Validator.validate(message)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:hl7apy")
def test_the_linter_does_find_what_is_wrong():
    broken = mdm_t02(content(), ENVELOPE, SITE).replace(b"TXA|1|CN|", b"TXA|||")
    with pytest.raises(ValidationError, match="TXA"):
        Validator.validate(parse_message(broken.decode(), find_groups=True))
