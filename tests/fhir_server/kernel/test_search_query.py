import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.definitions import RESOURCE_TYPES, search_parameters
from fhir_server.kernel.errors import InvalidSearch
from fhir_server.kernel.search_query import HAS, MAX_COUNT, SearchQuery, parse_search
from fhir_server.kernel.search_values import ReferenceValue, StringValue, TokenValue


def _query(resource_type, *pairs, **options):
    return parse_search(resource_type, pairs, **options)


def _refusal(resource_type, *pairs, **options):
    with pytest.raises(InvalidSearch) as refused:
        parse_search(resource_type, pairs, **options)
    return str(refused.value)


def test_no_pairs_search_everything():
    assert _query("Patient") == SearchQuery("Patient")


def test_each_pair_is_a_criterion_and_its_values_are_alternatives():
    query = _query("Patient", ("name", "a,b"), ("name", "c"), ("gender:not", "male"))
    assert [(c.parameter.code, c.modifier) for c in query.criteria] == [
        ("name", None),
        ("name", None),
        ("gender", "not"),
    ]
    assert query.criteria[0].values == (StringValue("a"), StringValue("b"))
    assert query.pairs == (("name", "a,b"), ("name", "c"), ("gender:not", "male"))


def test_common_parameters_are_known_to_every_type():
    query = _query("Basic", ("_id", "1,2"), ("_lastUpdated", "ge2024"), ("_tag", "a|b"))
    assert query.criteria[0].values == (TokenValue(None, "1"), TokenValue(None, "2"))


def test_an_unknown_parameter_is_refused_with_the_nearest_known_one():
    assert _refusal("Patient", ("brithdate", "2000")) == (
        "Patient has no search parameter 'brithdate'. Did you mean 'birthdate'?"
    )
    assert "'_count'" in _refusal("Patient", ("_cuont", "5"))


def test_an_unknown_modifier_is_refused_with_the_known_ones():
    assert "Did you mean 'exact'?" in _refusal("Patient", ("name:exakt", "x"))
    assert "It has: missing." in _refusal("Patient", ("birthdate:zz", "x"))
    assert "no modifier" in _refusal("Patient", ("name:", "x"))


@pytest.mark.parametrize("code", ["_query", "_score", "_contained", "_containedType"])
def test_parameters_of_the_specification_that_are_not_built_say_so(code):
    assert "not supported" in _refusal("Patient", (code, "x"))


def test_a_malformed_value_is_refused_by_parameter_and_never_repeated():
    text = _refusal("Patient", ("birthdate", "Alvarez"))
    assert "'birthdate'" in text
    assert "Alvarez" not in text


def test_an_unknown_resource_type_is_refused():
    assert "Did you mean 'Patient'?" in _refusal("Pateint")


def test_lenient_handling_leaves_out_the_unknown_and_says_what():
    query = _query("Patient", ("nmae", "x"), ("name", "y"), ("_query", "z"), lenient=True)
    assert [c.parameter.code for c in query.criteria] == ["name"]
    assert query.ignored == ("nmae", "_query")
    assert query.pairs == (("name", "y"),)


def test_lenient_handling_still_refuses_what_is_known_and_malformed():
    assert "'birthdate'" in _refusal("Patient", ("birthdate", "x"), lenient=True)


def test_format_is_not_the_search_s_business():
    assert _query("Patient", ("_format", "json"), ("_pretty", "true")) == SearchQuery("Patient")


@pytest.mark.parametrize(("text", "count"), [("0", 0), ("20", 20), ("1000", 1000), ("5000", MAX_COUNT)])
def test_count_is_clamped_to_a_page(text, count):
    assert _query("Patient", ("_count", text)).count == count


@pytest.mark.parametrize("text", ["-1", "x", "", "1.5", "10001", "9" * 30, "٣"])
def test_count_that_is_no_sensible_number_is_refused(text):
    assert "_count" in _refusal("Patient", ("_count", text))


def test_sort_takes_several_keys_in_either_direction():
    query = _query("Observation", ("_sort", "-date,_id"))
    assert [(key.parameter.code, key.descending) for key in query.sort] == [("date", True), ("_id", False)]


def test_sort_by_an_unknown_or_composite_parameter_is_refused():
    assert "Did you mean 'date'?" in _refusal("Observation", ("_sort", "dat"))
    assert "composite" in _refusal("Observation", ("_sort", "code-value-quantity"))


def test_total_summary_and_elements_take_their_values_only():
    query = _query("Patient", ("_total", "accurate"), ("_summary", "count"), ("_elements", "name,deceased"))
    assert (query.total, query.summary, query.elements) == ("accurate", "count", ("name", "deceased"))
    assert _query("Patient", ("_summary", "false")).summary is None
    for pair in (("_total", "some"), ("_summary", "short"), ("_elements", "nmae"), ("_elements", "deceased[x]")):
        assert f"'{pair[0]}'" in _refusal("Patient", pair)


def test_a_single_valued_control_given_twice_must_agree():
    assert _query("Patient", ("_count", "5"), ("_count", "5")).count == 5
    assert "twice" in _refusal("Patient", ("_count", "5"), ("_count", "6"))


def test_the_cursor_is_kept_out_of_what_was_searched():
    query = _query("Patient", ("name", "a"), ("_cursor", "xyz"))
    assert query.cursor == "xyz"
    assert query.pairs == (("name", "a"),)


def test_includes_name_source_reference_and_target():
    query = _query(
        "Observation",
        ("_include", "Observation:subject:Patient"),
        ("_include:iterate", "Patient:*"),
        ("_revinclude", "Provenance:target"),
    )
    first, second = query.include
    assert (first.source, first.parameter.code, first.target, first.iterate) == (
        "Observation",
        "subject",
        "Patient",
        False,
    )
    assert (second.parameter, second.iterate) == (None, True)
    assert query.revinclude[0].parameter.code == "target"


@pytest.mark.parametrize(
    "pair",
    [("_include", "subject"), ("_include", "Unicorn:x"), ("_include", "Observation:code"),
     ("_include", "Observation:sbject"),
     ("_include:exact", "Observation:subject"), ("_revinclude", "Observation:subject:Unicorn")],
)  # fmt: skip
def test_a_malformed_include_is_refused(pair):
    assert _refusal("Observation", pair)


def test_a_chain_carries_the_condition_on_its_target():
    (criterion,) = _query("Observation", ("patient.name:exact", "x")).criteria
    assert (criterion.parameter.code, criterion.chain_type, criterion.values) == ("patient", "Patient", ())
    assert (criterion.chain.parameter.code, criterion.chain.modifier) == ("name", "exact")
    assert criterion.chain.values == (StringValue("x"),)


def test_chains_have_several_links():
    (criterion,) = _query("Observation", ("patient.general-practitioner:Practitioner.name", "x")).criteria
    assert criterion.chain.chain_type == "Practitioner"
    assert criterion.chain.chain.values == (StringValue("x"),)


def test_an_ambiguous_chain_is_refused_with_what_to_write():
    assert "'subject:Patient.name'" in _refusal("Observation", ("subject.name", "x"))
    assert _query("Observation", ("subject:Patient.name", "x")).criteria[0].chain_type == "Patient"


@pytest.mark.parametrize("name", ["code.x", "subject:identifier.name", "patient.nmae", "patient." * 7 + "name"])
def test_a_chain_that_leads_nowhere_is_refused(name):
    assert _refusal("Observation", (name, "x"))


def test_has_carries_the_condition_on_the_type_that_points_here():
    (criterion,) = _query("Patient", ("_has:Observation:patient:code", "http://loinc.org|1-2")).criteria
    assert criterion.parameter is HAS
    assert (criterion.chain_type, criterion.link.code) == ("Observation", "patient")
    assert criterion.chain.values == (TokenValue("http://loinc.org", "1-2"),)


def test_has_may_be_nested_and_chained():
    (nested,) = _query("Patient", ("_has:Observation:patient:_has:Provenance:target:agent", "Practitioner/1")).criteria
    assert nested.chain.chain.values == (ReferenceValue("Practitioner", "1"),)
    (chained,) = _query("Encounter", ("patient._has:Group:member:_id", "g")).criteria
    assert chained.chain.chain_type == "Group"


@pytest.mark.parametrize(
    "name",
    [
        "_has:Observation:patient",
        "_has:Unicorn:patient:code",
        "_has:Observation:code:code",
        "_has:Observation:device:code",
    ],
)
def test_a_has_that_cannot_be_followed_is_refused(name):
    assert _refusal("Patient", (name, "x"))


_names = st.one_of(
    st.text(),
    st.sampled_from(sorted(search_parameters("Observation"))),
    st.builds("{}:{}".format, st.sampled_from(["code", "subject", "_has", "_include"]), st.text()),
)


@given(st.sampled_from(sorted(RESOURCE_TYPES)), st.lists(st.tuples(_names, st.text()), max_size=3))
def test_no_search_does_more_than_parse_or_be_refused(resource_type, pairs):
    try:
        assert parse_search(resource_type, pairs).resource_type == resource_type
    except InvalidSearch:
        return
