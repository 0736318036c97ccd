import pytest

from fhir_server.kernel.validation import validate
from mappings.dicom.conversions import CONVERSIONS, Context, body_part, date_time, modality, table, unsigned
from mappings.dicom.imaging_study import (
    MAX_LISTED_INSTANCES,
    SeriesHeaders,
    endpoint,
    imaging_study,
    imaging_study_id,
    rows,
)

context = Context("https://lakeside.example/accession", "America/New_York")


def attribute(vr, *values):
    return {"vr": vr, "Value": list(values)}


def header(number=1, series="1.2.3", modality="CT", **more):
    return {
        "00080016": attribute("UI", "1.2.840.10008.5.1.4.1.1.2"),
        "00080018": attribute("UI", f"{series}.{number}"),
        "00080020": attribute("DA", "20260302"),
        "00080030": attribute("TM", "091407.25"),
        "00080050": attribute("SH", "A26-11873"),
        "00080060": attribute("CS", modality),
        "00080090": attribute("PN", {"Alphabetic": "Rao^Anil^^Dr"}),
        "00081030": attribute("LO", "CT CHEST"),
        "00180015": attribute("CS", "CHEST"),
        "0020000D": attribute("UI", "1.2"),
        "0020000E": attribute("UI", series),
        "00200011": attribute("IS", 2),
        "00200013": attribute("IS", number),
        **more,
    }


def mapped(*series):
    return imaging_study("LAKESIDE", "1.2", series, patient="Patient/1", endpoint="Endpoint/2", context=context)


def test_a_study_becomes_a_valid_imaging_study():
    found = mapped(
        SeriesHeaders([header(1), header(2)], 2),
        SeriesHeaders([header(1, "1.2.9", "SR", **{"00200011": attribute("IS", 1)})], 1),
    )
    assert validate(found) == ()
    assert found["identifier"][0] == {"use": "official", "system": "urn:dicom:uid", "value": "urn:oid:1.2"}
    assert found["identifier"][1]["value"] == "A26-11873"
    assert found["identifier"][1]["system"] == context.accession_system
    assert (found["numberOfSeries"], found["numberOfInstances"]) == (2, 3)
    assert found["started"] == "2026-03-02T09:14:07-05:00"
    assert found["referrer"] == {"display": "Dr Anil Rao"}
    assert [one["uid"] for one in found["series"]] == ["1.2.9", "1.2.3"]
    assert {one["code"] for one in found["modality"]} == {"CT", "SR"}
    assert found["series"][1]["bodySite"]["code"] == "51185008"
    assert [one["number"] for one in found["series"][1]["instance"]] == [1, 2]


def test_the_same_study_always_has_the_same_id_and_two_sites_have_two():
    assert imaging_study_id("LAKESIDE", "1.2") == imaging_study_id("LAKESIDE", "1.2")
    assert imaging_study_id("LAKESIDE", "1.2") != imaging_study_id("RIVERSIDE", "1.2")


def test_a_large_study_lists_its_series_only():
    found = mapped(SeriesHeaders([header()], MAX_LISTED_INSTANCES + 1))
    assert "instance" not in found["series"][0]
    assert found["numberOfInstances"] == MAX_LISTED_INSTANCES + 1


def test_a_header_that_says_next_to_nothing_still_gives_a_valid_resource():
    bare = {tag: header()[tag] for tag in ("00080016", "00080018", "0020000D", "0020000E")}
    found = mapped(SeriesHeaders([bare], 1))
    assert validate(found) == ()
    assert found["series"][0]["modality"]["code"] == "OT"
    assert "started" not in found


def test_the_endpoint_is_valid_and_says_wado_rs():
    found = endpoint("http://127.0.0.1:8000/dicomweb")
    assert validate(found) == ()
    assert found["connectionType"]["code"] == "dicom-wado-rs"


@pytest.mark.parametrize(
    ("day", "time", "offset", "expected"),
    [
        ("20260702", "091407", "", "2026-07-02T09:14:07-04:00"),
        ("20260302", "0914", "", "2026-03-02T09:14:00-05:00"),
        ("20260302", "091407", "+0530", "2026-03-02T09:14:07+05:30"),
        ("20260302", "091407", "+9900", "2026-03-02T09:14:07-05:00"),
        ("2026.03.02", "09:14:07", "", "2026-03-02T09:14:07-05:00"),
        ("20260302", "", "", "2026-03-02"),
        ("20260302", "09", "", "2026-03-02"),
        ("20260302", "996199", "", "2026-03-02"),
        ("20261399", "091407", "", None),
        ("", "091407", "", None),
    ],
)
def test_dates_and_times_say_no_more_than_the_header_does(day, time, offset, expected):
    assert date_time([[day], [time], [offset]], context) == expected


def test_what_fits_no_code_is_kept_as_text_or_left_out():
    assert body_part([["LEFT PINKY"]], context) == {"display": "LEFT PINKY"}
    assert modality([["XYZ"]], context)["code"] == "XYZ"
    assert unsigned([[-1]], context) is None
    assert unsigned([["1.5"]], context) is None


def test_every_row_names_a_conversion_and_every_conversion_is_named_by_a_row():
    named = {row.convert for level in ("study", "series", "instance") for row in rows(level)}
    assert named == set(CONVERSIONS.values())


@pytest.mark.parametrize("name", ["modalities", "body_parts"])
def test_code_tables_have_no_empty_cell(name):
    assert all(all(row.values()) for row in table(name).values())
