import re

import pytest

from fhir_server.definitions import RESOURCE_TYPES, compartment_parameters, compartments, search_parameters

_every = [(t, p) for t in sorted(RESOURCE_TYPES) for p in search_parameters(t).values()]


def test_all_search_parameters_of_r4_with_an_expression_are_there():
    assert len({parameter.url for _, parameter in _every}) == 1374


def test_every_type_has_the_common_parameters():
    for resource_type in RESOURCE_TYPES:
        assert {"_id", "_lastUpdated", "_tag", "_profile", "_security", "_source"} <= set(
            search_parameters(resource_type)
        )


def test_columns_are_unique_lower_case_and_need_no_quotes():
    for resource_type in RESOURCE_TYPES:
        columns = [parameter.column for parameter in search_parameters(resource_type).values()]
        assert len(set(columns)) == len(columns), resource_type
        assert all(re.fullmatch(r"[a-z][a-z0-9_]{0,58}", column) for column in columns)


def test_columns_never_collide_with_those_every_table_has():
    for _, parameter in _every:
        assert parameter.column not in {"version", "deleted", "body", "compartments", "when"}
        assert (parameter.column in {"id", "last_updated"}) == (parameter.code in {"_id", "_lastUpdated"})


def test_a_parameter_and_a_common_one_of_the_same_name_have_different_columns():
    found = search_parameters("ConceptMap")
    assert (found["source"].column, found["_source"].column) == ("source", "meta_source")


def test_a_shared_parameter_is_cut_to_the_part_of_the_type():
    assert search_parameters("Condition")["code"].expression == "Condition.code"
    assert search_parameters("Patient")["email"].expression == "Patient.telecom.where(system = 'email')"


@pytest.mark.parametrize(
    ("resource_type", "code", "multiple"),
    [
        ("Patient", "birthdate", False),
        ("Patient", "deceased", False),
        ("Observation", "date", False),
        ("Observation", "value-date", False),
        ("Encounter", "location-period", True),
        ("Patient", "name", True),
        ("Bundle", "composition", False),
        ("Observation", "combo-code", True),
    ],
)
def test_multiple_says_whether_there_can_be_more_than_one_value(resource_type, code, multiple):
    assert search_parameters(resource_type)[code].multiple is multiple


def test_components_of_composites_are_parameters_of_the_type():
    composites = [(t, p) for t, p in _every if p.type == "composite"]
    assert len(composites) > 40
    for resource_type, parameter in composites:
        assert len(parameter.components) > 1
        assert all(code in search_parameters(resource_type) for _, code in parameter.components)


def test_a_reference_parameter_names_its_targets():
    assert search_parameters("Observation")["patient"].targets == ("Patient",)
    for _, parameter in _every:
        assert RESOURCE_TYPES.issuperset(parameter.targets)


def test_the_five_compartments_link_types_by_their_parameters():
    assert compartments() == ("Device", "Encounter", "Patient", "Practitioner", "RelatedPerson")
    assert compartment_parameters("Patient", "Observation") == ("subject", "performer")
    assert compartment_parameters("Patient", "Medication") == ()
    for compartment in compartments():
        assert compartment_parameters(compartment, compartment)[0] == "{def}"
        for resource_type in RESOURCE_TYPES:
            codes = set(compartment_parameters(compartment, resource_type)) - {"{def}"}
            assert codes <= set(search_parameters(resource_type))


def test_unknown_compartments_and_types_are_key_errors():
    with pytest.raises(KeyError):
        compartment_parameters("Unicorn", "Patient")
    with pytest.raises(KeyError):
        compartment_parameters("Patient", "Unicorn")
