from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7v2.conversion import MappingError
from adapters.hl7v2.convert import convert, explain, mapping_of
from adapters.hl7v2.identity import lane_of
from adapters.hl7v2.merge import merged
from adapters.hl7v2.site_mapping import Layer, SiteMapping
from adapters.hl7v2.tokenizer import Message
from fhir_server.kernel.validation import validate
from mappings.engine.errors import MappingLoadError
from mappings.engine.mapping import load_base
from mappings.hl7v2.library import FOLDER

CORPUS = Path(__file__).resolve().parents[4] / "shared" / "corpus" / "hl7v2"  # beside the checkout, where it is kept
CONFIG = {
    "zone": "America/New_York",
    "mrn": ["LAKESIDE"],
    "authorities": {"LAKESIDE": {"MR": "https://lakeside.example/mrn", "VN": "https://lakeside.example/visit"}},
}
SITE = SiteMapping.from_config("LAKESIDE", CONFIG)
MSH = r"MSH|^~\&|LAB|LAKESIDE|K|H|20260302120000||{event}|{id}|P|2.5.1"
PID = "PID|1||00483921^^^LAKESIDE^MR||ALVAREZ^MARIA||19610412|F"


def message(*segments, event="ORU^R01^ORU_R01", id="C1"):
    return Message.parse("\r".join([MSH.format(event=event, id=id), *segments]).encode())


def mapped(*segments, site=SITE, **msh):
    return convert(message(*segments, **msh), site)


def resources(conversion, name):
    return [entry.resource for entry in conversion.resources if entry.resource["resourceType"] == name]


@pytest.mark.parametrize(
    ("segments", "msh", "code", "location", "ack"),
    [
        ([PID], {"id": ""}, "101", "MSH^1^10", "AE"),
        (["PID|1||||X"], {}, "101", "PID^1^3", "AE"),
        (['PID|1||""'], {}, "101", "PID^1^3", "AE"),
        (["PID|1||123"], {}, "101", "PID^1^3", "AE"),
        (["OBR|1"], {}, "100", "PID^1", "AE"),
        ([PID], {"event": "XYZ^Z99"}, "200", "MSH^1^9", "AR"),
        ([PID], {"event": ""}, "200", "MSH^1^9", "AR"),
        ([PID], {"event": "ADT^A99"}, "201", "MSH^1^9", "AR"),
        ([PID.replace("19610412", "19611399")], {}, "102", "PID^1^7^1", "AE"),
        ([PID, "OBR|1||F1|X", "OBX|1|ED|P||A^application^pdf^Base64^JVB*"], {}, "102", "OBX^1^5^1^5", "AE"),
        ([PID, "OBR|1||F1|X", "OBX|1|ED|P||A^application^pdf^Base64^JVBER"], {}, "102", "OBX^1^5^1^5", "AE"),
        ([PID, "OBR|1||F1|X", "OBX|1|ED|P||A^application^pdf^Hex^0G"], {}, "102", "OBX^1^5^1^5", "AE"),
        ([PID, "OBR|1||F1|X|||tomorrow"], {}, "102", "OBR^1^7^1", "AE"),
        ([PID, "OBR|1||F1|X", "OBX|1|NM|A||1", "OBX|2|TM|B||9h"], {}, "102", "OBX^2^5^1", "AE"),
    ],
)
def test_what_a_message_lacks_or_breaks_has_its_code_and_place(segments, msh, code, location, ack):
    with pytest.raises(MappingError) as raised:
        mapped(*segments, **msh)
    assert (raised.value.hl7_code, raised.value.location, raised.value.ack) == (code, location, ack)


def test_an_error_carries_no_value_of_the_message():
    with pytest.raises(MappingError) as raised:
        mapped(PID.replace("19610412", "SECRET77"))
    assert "SECRET77" not in str(raised.value)


def test_a_site_may_drop_invalid_dates_instead_of_refusing_the_message():
    site = SiteMapping.from_config("LAKESIDE", {**CONFIG, "invalid_dates": "drop"})
    conversion = mapped(PID.replace("19610412", "19611399"), site=site)
    assert "birthDate" not in resources(conversion, "Patient")[0]
    assert "an invalid date was left out" in conversion.warnings


def test_an_identifier_without_authority_takes_the_sites_default_only():
    site = SiteMapping.from_config("X", {"authorities": {"": "https://x.example/mrn"}})
    conversion = mapped("PID|1||77", site=site)
    assert conversion.resources[0].match == ("https://x.example/mrn|77",)


def test_the_best_configured_authority_names_the_patient_whatever_the_order():
    config = {"mrn": ["B", "A"], "authorities": {"A": "https://a.example", "B": "https://b.example"}}
    site = SiteMapping.from_config("X", config)
    conversion = mapped("PID|1||1^^^A^MR~2^^^B^MR", site=site)
    assert conversion.lane == "https://b.example|2"
    assert conversion.resources[0].match == ("https://b.example|2", "https://a.example|1")


def test_an_unknown_authority_gets_a_uri_of_the_site_and_a_warning():
    conversion = mapped("PID|1||1^^^ELSE WHERE^MR")
    assert conversion.lane == "https://konsil.example/sites/lakeside/ELSE-WHERE|1"
    assert any("not in the site's table" in warning for warning in conversion.warnings)


def test_a_null_identifier_is_never_a_patient():
    conversion = mapped('PID|1||""^^^LAKESIDE^MR~00483921^^^LAKESIDE^MR')
    assert conversion.lane == "https://lakeside.example/mrn|00483921"


def test_the_lane_before_mapping_is_the_lane_after_it():
    found = message("PID|1||E1^^^LAKESIDE^PI~00483921^^^LAKESIDE^MR")
    assert lane_of(found, SITE) == convert(found, SITE).lane


def test_a_message_without_a_patient_waits_in_its_senders_lane():
    assert lane_of(message("OBR|1"), SITE) == "LAKESIDE|LAB|LAKESIDE"


@pytest.mark.parametrize(
    ("sent", "zone", "expected"),
    [
        ("2026", "America/New_York", "2026"),
        ("202603", "America/New_York", "2026-03"),
        ("20260302", "America/New_York", "2026-03-02"),
        ("202603021015", "America/New_York", "2026-03-02T10:15:00-05:00"),
        ("20260702101530", "America/New_York", "2026-07-02T10:15:30-04:00"),
        ("20260702101530.25", "Europe/Paris", "2026-07-02T10:15:30.25+02:00"),
        ("20260702101530+0000", "Europe/Paris", "2026-07-02T10:15:30+00:00"),
        ("20260702101530-0330", None, "2026-07-02T10:15:30-03:30"),
        ("20260702101530", None, "2026-07-02"),
        ("00000000", "America/New_York", None),
    ],
)
def test_a_time_keeps_its_precision_and_offset_or_takes_the_sites_zone_in_summer_and_winter(sent, zone, expected):
    site = SiteMapping.from_config("LAKESIDE", {**CONFIG, "zone": zone})
    [report] = resources(mapped(PID, f"OBR|1||F1|X|||{sent}", site=site), "DiagnosticReport")
    assert report.get("effectiveDateTime") == expected


@pytest.mark.parametrize(
    ("code", "status"),
    [("F", "final"), ("C", "corrected"), ("P", "preliminary"), ("A", "partial"), ("X", "cancelled"), ("M", "unknown")],
)
def test_obr_25_gives_the_reports_status(code, status):
    [report] = resources(mapped(PID, "OBR|1||F1|X" + "|" * 21 + code), "DiagnosticReport")
    assert report["status"] == status


def test_panels_that_share_a_filler_number_are_two_reports_of_one_order():
    conversion = mapped(PID, "OBR|1|P1|F1|A^a^L", "OBX|1|NM|1||1", "OBR|2|P1|F1|B^b^L", "OBX|1|NM|1||2")
    first, second = resources(conversion, "DiagnosticReport")
    assert first["id"] != second["id"]
    assert len(resources(conversion, "ServiceRequest")) == 1
    assert first["result"] != second["result"]


def test_equal_observations_of_one_report_stay_apart():
    conversion = mapped(PID, "OBR|1|P1|F1|A^a^L", "OBX|1|NM|1||1", "OBX|2|NM|1||2", "OBX|3|NM|1||3")
    assert len({found["id"] for found in resources(conversion, "Observation")}) == 3


def test_a_correction_in_another_message_is_the_same_report_and_observation():
    segments = [PID, "OBR|1|P1|F1|A^a^L" + "|" * 21 + "{}", "OBX|1|NM|1||{}||||||{}"]
    first = mapped(*segments[:1], segments[1].format("F"), segments[2].format("1", "F"), id="M1")
    second = mapped(*segments[:1], segments[1].format("C"), segments[2].format("2", "C"), id="M2")
    assert [entry.reference for entry in first.resources] == [entry.reference for entry in second.resources]


def test_specimen_before_results_does_not_swallow_them():
    conversion = mapped(PID, "OBR|1|P1|F1|A^a^L", "SPM|1|^S1&LAKESIDE", "OBX|1|NM|1||1", "OBX|2|NM|2||2")
    assert len(resources(conversion, "DiagnosticReport")[0]["result"]) == 2


def test_segments_out_of_order_are_read_and_noted():
    conversion = mapped(PID, "PV1|1|I", "DG1|1||C34^x^I10C", "NK1|1|DOE^J|SPO", event="ADT^A01")
    assert resources(conversion, "Patient")[0]["contact"]
    assert any("NK1[1]" in warning for warning in conversion.warnings)


def test_an_admission_without_visit_number_is_closed_by_its_discharge():
    admitted = resources(mapped(PID, "PV1|1|I", event="ADT^A01"), "Encounter")[0]
    discharged = resources(mapped(PID, "PV1|1|I", event="ADT^A03"), "Encounter")[0]
    assert (admitted["id"], admitted["status"]) == (discharged["id"], "in-progress")
    assert discharged["status"] == "finished"


def test_person_updates_make_no_encounter():
    assert resources(mapped(PID, "PV1|1|N", event="ADT^A31"), "Encounter") == []


def test_a_clinician_known_by_name_only_is_shown_and_not_made():
    conversion = mapped(PID, "PV1|1|I|||||^RAO^ANIL", event="ADT^A01")
    assert resources(conversion, "Practitioner") == []
    assert resources(conversion, "Encounter")[0]["participant"][0]["individual"] == {"display": "ANIL RAO"}


def test_text_that_looks_like_html_or_escapes_is_only_text():
    conversion = mapped(PID, "OBR|1||F1|X", r"OBX|1|TX|N||<b>\F\</b> \T\amp; ~ second||||||F")
    assert resources(conversion, "Observation")[0]["valueString"] == "<b>|</b> &amp;\n second"


def test_a_document_without_content_still_stands():
    conversion = mapped(PID, "TXA|1|CN", event="MDM^T02")
    document = next(entry for entry in conversion.resources if entry.resource["resourceType"] == "DocumentReference")
    assert merged(None, document)["content"][0]["attachment"]["title"]


def test_a_20_mb_document_is_mapped_without_copying_it_over_and_over():
    data = "QUJD" * 5_000_000
    conversion = mapped(PID, "TXA|1|CN", f"OBX|1|ED|P||A^application^pdf^Base64^{data}", event="MDM^T02")
    assert len(resources(conversion, "Binary")[0]["data"]) == len(data)


def test_a_country_and_a_site_layer_change_rows_and_codes_by_address():
    layers = (
        Layer("us", patches=({"op": "drop", "row": "segments/PID.Patient/pid19"},)),
        Layer(
            "lakeside",
            patches=(
                {"op": "add", "to": "segments/PID.Patient", "row": {"id": "zpd2", "from": "ZPD-2", "to": "language"}},
                {"op": "replace", "row": "segments/PID.Patient/pid8", "set": {"when": "not PID-8 = X"}},
            ),
            tables={"0001": {"K": "other"}},
        ),
        Layer("lakeside ORU", ({"op": "drop", "row": "segments/OBX.Observation/obx7"},), message="ORU_R01"),
    )
    site = SiteMapping.from_config("LAKESIDE", CONFIG, layers)
    patient = resources(mapped(PID.replace("|F", "|K") + "|" * 11 + "9", "ZPD|1|en", site=site), "Patient")[0]
    assert patient["language"] == "en"
    assert patient["gender"] == "other"
    assert len(patient["identifier"]) == 1
    assert mapping_of(site).hash != mapping_of(SITE).hash


@pytest.mark.parametrize(
    "patch",
    [
        {"op": "drop", "row": "segments/PID.Patient/nope"},
        {"op": "replace", "row": "segments/NO.Map/pid8", "set": {}},
        {"op": "add", "to": "segments/NO.Map", "row": {"id": "a", "from": "PID-1", "to": "id"}},
        {"op": "add", "to": "segments/PID.Patient", "row": {"id": "pid8", "from": "PID-1", "to": "language"}},
        {"op": "add", "to": "segments/PID.Patient", "row": {"id": "x", "from": "PID-1", "to": "a", "type": "eval"}},
        {"op": "add", "to": "segments/PID.Patient", "row": {"id": "x", "from": "PID.1", "to": "a"}},
        {
            "op": "add",
            "to": "segments/PID.Patient",
            "row": {"id": "x", "from": "PID-1", "to": "a", "when": "PID-8 ~ 1"},
        },
        {"op": "rename", "row": "segments/PID.Patient/pid8"},
    ],
)
def test_a_patch_that_fits_nothing_is_an_error_when_the_site_is_loaded(patch):
    site = SiteMapping.from_config("X", CONFIG, (Layer("x", (patch,)),))
    with pytest.raises(MappingLoadError):
        mapping_of(site)


def test_explain_tells_value_row_layer_and_path():
    rows = {row.row: row for row in explain(message(PID), SITE)}
    gender = rows["segments/PID.Patient/pid8"]
    assert (gender.source, gender.value, gender.layer, gender.path) == ("PID-8.1", "F", "base", "Patient.gender")
    assert rows["datatypes/XPN.HumanName/xpn1"].path == "Patient.name.family"


def test_explaining_changes_no_result():
    found = message(PID, "OBR|1||F1|X", "OBX|1|NM|1^a^LN||1|mg")
    before = convert(found, SITE)
    explain(found, SITE)
    assert convert(found, SITE) == before


SEGMENTS = sorted({path.name.split(".")[0] for path in (FOLDER / "segments").glob("*.yaml")} | {"ZZZ"})
EVENTS = sorted(load_base(FOLDER).events)
segment = st.tuples(
    st.sampled_from(SEGMENTS),
    st.lists(st.text('AB1290^~&|\\."-:F', max_size=10), max_size=24),
)


@given(st.lists(segment, max_size=10), st.sampled_from(EVENTS))
def test_whatever_stands_in_the_fields_the_answer_is_valid_resources_or_a_mapping_error(segments, event):
    lines = ["|".join([name, *fields]) for name, fields in segments]
    try:
        conversion = mapped(PID, *lines, event=event)
    except MappingError:
        return
    for entry in conversion.resources:
        assert [issue for issue in validate(merged(None, entry)) if issue.severity == "error"] == []


corpus = sorted(path for path in CORPUS.rglob("*") if path.suffix in (".hl7", ".txt")) if CORPUS.is_dir() else []


@pytest.mark.skipif(not corpus, reason="the message corpus is not on this machine")
def test_every_corpus_message_maps_to_valid_resources_or_a_mapping_error():
    site = SiteMapping.from_config("corpus", {**CONFIG, "authorities": {"": "https://corpus.example/id"}})
    done = 0
    for path in corpus:
        try:
            conversion = convert(Message.parse(path.read_bytes()), site)
        except MappingError:
            continue
        done += 1
        for entry in conversion.resources:
            errors = [issue for issue in validate(merged(None, entry)) if issue.severity == "error"]
            assert errors == [], f"{path.name}: {errors}"
    assert done > 150
