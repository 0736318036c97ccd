"""https://hl7.org/fhir/R4/xml.html."""

import copy
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_server.definitions import RESOURCE_TYPES
from fhir_server.kernel import json, xml, xml_writer
from fhir_server.kernel.errors import InvalidRequest
from fhir_server.kernel.validation import validate

NS = 'xmlns="http://hl7.org/fhir"'
XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'
_texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\ufffe\uffff"), min_size=1).map(
    lambda text: "".join(c for c in text if c >= " " or c in "\t\n\r") or "x"
)
_decimals = st.from_regex(r"\A-?(0|[1-9][0-9]{0,17})\.[0-9]{1,18}\Z").map(Decimal)


def _document(content, root="Patient"):
    return f"<{root} {NS}>{content}</{root}>".encode()


def _with_extras(value, draw):
    """Give some primitives of a resource an id or an extension, as ``_name`` beside them."""
    if isinstance(value, dict):
        for name, item in list(value.items()):
            if name in ("resourceType", "id", "div", "url", "reference"):
                continue
            if isinstance(item, str | bool | int | Decimal) and draw(st.booleans()):
                value[f"_{name}"] = {"id": "e1", "extension": [{"url": "urn:x", "valueString": draw(_texts)}]}
            elif isinstance(item, list) and item and isinstance(item[0], str) and draw(st.booleans()):
                value[f"_{name}"] = [{"extension": [{"url": "urn:x", "valueDecimal": draw(_decimals)}]}]
                value[f"_{name}"] += [None] * (len(item) - 1)
            else:
                _with_extras(item, draw)
    elif isinstance(value, list):
        for item in value:
            _with_extras(item, draw)


@pytest.mark.parametrize("resource_type", sorted(RESOURCE_TYPES))
def test_every_type_goes_to_xml_and_back_unchanged(sample, resource_type):
    for seed in range(3):
        resource = sample(resource_type, seed, 0.6)
        written = xml_writer.encode(resource)
        assert xml.decode_resource(written) == resource
        assert xml.decode_resource(xml_writer.encode(resource, pretty=True)) == resource
        assert xml_writer.encode(xml.decode_resource(written)) == written


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_texts_decimals_and_primitive_extensions_survive_both_ways(sample, data):
    resource = copy.deepcopy(
        sample(
            data.draw(st.sampled_from(("Patient", "Observation", "Questionnaire", "Task"))),
            data.draw(st.integers(0, 9)),
        )
    )
    _with_extras(resource, data.draw)
    resource["extension"] = [
        {"url": "urn:a", "valueString": data.draw(_texts)},
        {"url": "urn:b", "valueDecimal": data.draw(_decimals)},
    ]
    back = xml.decode_resource(xml_writer.encode(resource))
    assert json.decode(json.encode(back)) == json.decode(json.encode(resource))
    assert str(back["extension"][1]["valueDecimal"]) == str(resource["extension"][1]["valueDecimal"])


def test_a_bundle_with_contained_resources_goes_both_ways(sample):
    patient = {"resourceType": "Patient", "contained": [{"resourceType": "Basic", "code": {"text": "x"}}]}
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": "urn:uuid:1", "resource": patient}, {"resource": sample("Observation")}],
    }
    assert xml.decode_resource(xml_writer.encode(bundle)) == bundle


def test_elements_are_written_in_the_order_of_the_definitions():
    written = xml_writer.encode({"resourceType": "Patient", "birthDate": "1961", "name": [{"text": "x"}], "id": "a"})
    assert written.index(b"<id") < written.index(b"<name") < written.index(b"<birthDate")


def test_an_id_is_an_attribute_of_elements_and_an_element_of_resources():
    resource = {"resourceType": "Patient", "id": "r", "name": [{"id": "e", "text": "x"}]}
    written = xml_writer.encode(resource)
    assert b'<id value="r"/>' in written
    assert b'<name id="e">' in written
    assert xml.decode_resource(written) == resource


@pytest.mark.parametrize("text", ["1.00", "-0.50", "1E+5", "1e-7", "100", "0.00000000000000000100", "9" * 30])
def test_a_decimal_keeps_every_digit(text):
    read = xml.decode_resource(_document(f'<valueQuantity><value value="{text}"/></valueQuantity>', "Observation"))
    assert json.encode(read["valueQuantity"]).decode() == f'{{"value":{text}}}'


@pytest.mark.parametrize("text", ["NaN", "Infinity", " 1", "01", "1.", ".5", "0x10", "1_000", "٣", "9" * 2000])
def test_what_is_no_decimal_is_left_for_validation_to_point_at(text):
    content = f'<status value="final"/><code/><valueQuantity><value value="{text}"/></valueQuantity>'
    read = xml.decode_resource(_document(content, "Observation"))
    assert "Observation.value.ofType(Quantity).value" in {issue.expression for issue in validate(read)}


def test_an_unknown_element_is_left_for_validation_to_point_at():
    read = xml.decode_resource(_document('<birthdate value="1961"/>'))
    (issue,) = validate(read)
    assert (issue.expression, "birthDate" in issue.diagnostics) == ("Patient.birthdate", True)


@pytest.mark.parametrize(
    "div",
    [
        f"<div {XHTML}>a<b>c</b> d &amp; &lt; \n<br/></div>",
        f"<div {XHTML} class='x'><!-- kept --><p title=\"&quot;\">ä 𝄞</p></div>",
        f"<div {XHTML}/>",
        f"<div {XHTML}></div>",
    ],
)
def test_narrative_passes_as_it_was_written(div):
    read = xml.decode_resource(_document(f'<text><status value="generated"/>{div}</text>'))
    assert read["text"]["div"] == div
    assert xml.decode_resource(xml_writer.encode(read)) == read


def test_narrative_in_a_prefix_declared_outside_is_rewritten_to_stand_alone():
    div = '<h:div><h:p class="&lt;">a&amp;b</h:p></h:div>'
    body = f'<Patient {NS} xmlns:h="http://www.w3.org/1999/xhtml"><text>{div}</text></Patient>'
    read = xml.decode_resource(body.encode())
    assert read["text"]["div"] == f'<div {XHTML}><p class="&lt;">a&amp;b</p></div>'


@pytest.mark.parametrize(
    ("div", "expected"),
    [
        (f"<div {XHTML}>a&nbsp;b</div>", f"<div {XHTML}>a&#160;b</div>"),
        ("<div>a</div>", f"<div {XHTML}>a</div>"),
        (f"<div {XHTML}>a<br>b</div>", f"<div {XHTML}><p>&lt;div"),
        (f'<?xml version="1.0"?><div {XHTML}>a</div>', f"<div {XHTML}>a</div>"),
        ("<!DOCTYPE div><div>a</div>", f"<div {XHTML}><p>&lt;!DOCTYPE"),
    ],
)
def test_narrative_is_well_formed_xml_whatever_json_held(div, expected):
    written = xml_writer.encode({"resourceType": "Patient", "text": {"status": "generated", "div": div}})
    assert expected in written.decode()
    xml.decode_resource(written)


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        (b"", "line 1"),
        (b"\x00\x01", "line 1"),
        (b"{}", "line 1"),
        (b"<Patient/>", "xmlns"),
        (f"<Nothing {NS}/>".encode(), "resource type"),
        (_document("<gender value='a'/><gender value='b'/>"), "once"),
        (_document("text"), "attribute 'value'"),
        (_document("\n <gender value='male'>"), "line 2"),
        (_document("<gender/>"), "neither a value"),
        (_document("<gender value='male' other='x'/>"), "attributes"),
        (_document("<name use='official'/>"), "attributes"),
        (_document("<contained/>"), "one resource"),
        (_document("<text><status value='generated'/><div/></text>"), "narrative"),
        (_document(f"<text><div {XHTML}><x xmlns='urn:other'/></div></text>"), "XHTML elements"),
        (f'<?xml version="1.0" encoding="ISO-8859-1"?><Patient {NS}/>'.encode("latin-1"), "UTF-8"),
        (f"<Patient {NS}><gender value='\xe4'/></Patient>".encode("latin-1"), "line 1"),
        (f"<Patient {NS}/>".encode("utf-16"), "line 1"),
        (_document("<name>" * 100_000), "deeply"),
        (_document(f"<text><div {XHTML}>" + "<p>" * 100_000), "deeply"),
    ],
)
def test_what_is_no_fhir_xml_is_refused_with_its_place(body, hint):
    with pytest.raises(InvalidRequest, match=hint):
        xml.decode_resource(body)


_billion = "<!DOCTYPE l [<!ENTITY a 'aaaaaaaaaa'>" + "".join(
    f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 10}'>" for n in range(9)
)


@pytest.mark.parametrize(
    "prolog",
    [
        "<!DOCTYPE Patient SYSTEM 'file:///etc/passwd'>",
        "<!DOCTYPE Patient [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>",
        "<!DOCTYPE Patient [<!ENTITY % p SYSTEM 'http://127.0.0.1:1/x.dtd'> %p;]>",
        "<!DOCTYPE Patient>",
        f"{_billion}]>",
        "<!DOCTYPE Patient [<!ATTLIST Patient xmlns CDATA #FIXED 'http://hl7.org/fhir'>]>",
    ],
)
def test_a_dtd_is_refused_before_anything_of_it_is_read(prolog):
    with pytest.raises(InvalidRequest, match="document type declaration"):
        xml.decode_resource(prolog.encode() + _document("<gender value='&x;'/>"))


def test_an_xinclude_is_an_element_of_no_namespace_of_ours():
    with pytest.raises(InvalidRequest, match="namespace"):
        xml.decode_resource(_document("<i:include xmlns:i='http://www.w3.org/2001/XInclude' href='/etc/passwd'/>"))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 200))
def test_no_bytes_make_the_reader_fail(noise, at):
    whole = _document(
        f'<name id="a"><given value="x"/></name><text><status value="generated"/><div {XHTML}>t</div></text>'
    )
    try:
        xml.decode_resource(whole[:at] + noise + whole[at:])
    except InvalidRequest as refused:
        assert "line" in str(refused) or "XML" in str(refused)  # noqa: PT017 - most are refused, some are legal
