import base64
from collections import Counter
from decimal import Decimal
from pathlib import Path

import fhirpathpy
import pytest
import yaml
from fhirpathpy.models import models

from adapters.hl7v2.convert import convert
from adapters.hl7v2.merge import merged
from adapters.hl7v2.site_mapping import SiteMapping
from adapters.hl7v2.tokenizer import Message
from fhir_server.kernel.validation import validate

GOLDENS = Path(__file__).parent / "goldens"
SITE = SiteMapping.from_config("LAKESIDE", yaml.safe_load((GOLDENS / "site.yaml").read_text()))
NAMES = sorted(path.stem for path in GOLDENS.glob("*.hl7"))
ABOUT_ALL = {"counts", "modes", "match", "lane", "clear", "defaults", "text"}


def golden(name):
    raw = (GOLDENS / f"{name}.hl7").read_bytes().replace(b"\n", b"\r")
    return convert(Message.parse(raw), SITE), yaml.safe_load((GOLDENS / f"{name}.expect.yaml").read_text())


def found(resource, expression):
    values = fhirpathpy.evaluate(plain(resource), expression, [], model=models["r4"])
    values = [float(value) if isinstance(value, Decimal) else value for value in values]
    return values[0] if len(values) == 1 else values


def plain(value):
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return float(value) if isinstance(value, Decimal) else value


def of_type(conversion, key):
    name, _, index = key.partition("[")
    matching = [mapped for mapped in conversion.resources if mapped.resource["resourceType"] == name]
    return matching[int(index.rstrip("]") or 0) if index else 0]


@pytest.mark.parametrize("name", NAMES)
def test_each_field_of_a_golden_message_goes_where_the_guide_says(name):
    conversion, expected = golden(name)
    wrong = []
    for key in expected.keys() - ABOUT_ALL:
        for expression, value in expected[key].items():
            actual = found(of_type(conversion, key).resource, expression)
            if value not in (actual, [actual]):
                wrong.append((expression, value, actual))
    for expression, value in expected.get("text", {}).items():
        actual = found(of_type(conversion, expression.split(".")[0]).resource, expression)
        text = base64.b64decode(actual if isinstance(actual, str) else actual[0]).decode()
        if text != value:
            wrong.append((expression, value, text))
    assert wrong == []


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_message_makes_exactly_these_resources_in_these_modes(name):
    conversion, expected = golden(name)
    assert Counter(mapped.resource["resourceType"] for mapped in conversion.resources) == expected["counts"]
    for key, mode in expected.get("modes", {}).items():
        assert of_type(conversion, key).mode == mode
    for key, tokens in expected.get("match", {}).items():
        assert list(of_type(conversion, key).match) == tokens
    for key, names in expected.get("clear", {}).items():
        assert list(of_type(conversion, key).clear) == names
    for key, values in expected.get("defaults", {}).items():
        assert of_type(conversion, key).defaults == values
    assert conversion.lane == expected.get("lane", conversion.lane)


@pytest.mark.parametrize("name", NAMES)
def test_every_resource_of_a_golden_message_is_valid_r4_and_refers_only_to_its_own_message(name):
    conversion, _ = golden(name)
    own = {mapped.reference for mapped in conversion.resources}
    for mapped in conversion.resources:
        assert [issue for issue in validate(merged(None, mapped)) if issue.severity == "error"] == []
        assert set(references(mapped.resource)) <= own


def references(value):
    if isinstance(value, dict):
        if "reference" in value:
            yield value["reference"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_message_again_makes_the_same_ids(name):
    assert [m.reference for m in golden(name)[0].resources] == [m.reference for m in golden(name)[0].resources]


def test_the_exact_digits_of_a_result_are_kept():
    conversion, _ = golden("oru-lab")
    assert of_type(conversion, "Observation[0]").resource["valueQuantity"]["value"].as_tuple().digits == (8, 0)


def test_a_binary_is_guarded_by_its_patient():
    conversion, _ = golden("oru-radiology-pdf")
    patient = of_type(conversion, "Patient").reference
    assert of_type(conversion, "Binary").resource["securityContext"] == {"reference": patient}


def test_a_birth_time_is_kept_beside_the_birth_date():
    conversion, _ = golden("adt-a01")
    [extension] = of_type(conversion, "Patient").resource["_birthDate"]["extension"]
    assert extension["valueDateTime"] == "1961-04-12T06:30:00-05:00"
