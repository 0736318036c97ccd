import pytest

from fhir_server.kernel.errors import InvalidRequest, NotAcceptable, UnsupportedMediaType
from fhir_server.rest.negotiation import Preference, check_content_type, negotiate, parse_prefer


@pytest.mark.parametrize(
    ("accept", "format"),
    [
        (None, None),
        ("*/*", None),
        ("application/json", None),
        ("application/fhir+json; fhirVersion=4.0", None),
        ("text/html, application/xhtml+xml, */*;q=0.8", None),
        ("application/fhir+xml", "json"),
        ("text/html", "application/fhir json"),
        ("application/fhir+xml;q=0.5, application/fhir+json", None),
        ("application/fhir+xml, application/fhir+json", None),
    ],
)
def test_json_of_r4_is_given_to_who_takes_it(accept, format):
    assert negotiate(accept, format) == "json"


@pytest.mark.parametrize(
    ("accept", "format"),
    [
        ("application/fhir+xml", None),
        ("text/xml, */*;q=0.1", None),
        ("application/fhir+xml; fhirVersion=4.0, application/json;q=0.9", None),
        ("application/json", "xml"),
        ("*/*", "application/fhir xml"),
    ],
)
def test_xml_of_r4_is_given_to_who_prefers_it(accept, format):
    assert negotiate(accept, format) == "xml"


@pytest.mark.parametrize(
    ("accept", "format"),
    [
        ("text/turtle", None),
        ("application/json;q=0", None),
        ("application/json;q=0.000", None),
        ("application/json;q=much", None),
        ("application/fhir+json; fhirVersion=5.0", None),
        ("application/fhir+xml; fhirVersion=3.0", None),
        ("*/*", "ttl"),
    ],
)
def test_who_takes_neither_json_nor_xml_of_r4_is_told_so(accept, format):
    with pytest.raises(NotAcceptable):
        negotiate(accept, format)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/fhir+json",
        "application/json; charset=UTF-8",
        "Application/JSON",
        "application/fhir+xml",
        "text/xml",
    ],
)
def test_fhir_json_and_xml_are_taken(content_type):
    check_content_type(content_type)


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/json; charset=latin-1", "application/fhir+json; fhirVersion=5.0"],
)
def test_other_bodies_are_refused(content_type):
    with pytest.raises(UnsupportedMediaType):
        check_content_type(content_type)


def test_prefer_is_read_whatever_the_order():
    assert parse_prefer(None) == Preference()
    assert parse_prefer("handling=lenient, return=minimal") == Preference("minimal", lenient=True)
    assert parse_prefer("respond-async; return=representation") == Preference()


@pytest.mark.parametrize("header", ["return=everything", "handling=loose"])
def test_a_preference_that_means_nothing_is_refused(header):
    with pytest.raises(InvalidRequest):
        parse_prefer(header)


async def test_the_server_answers_406_and_415(client):
    assert (await client.get("Patient", headers={"Accept": "text/turtle"})).status_code == 406
    assert (await client.get("Patient?_format=ttl")).status_code == 406
    response = await client.post("Patient", content="x", headers={"Content-Type": "text/plain"})
    assert response.status_code == 415
    assert response.json()["resourceType"] == "OperationOutcome"
