"""near, _text, _content, _list, _filter, compartments and several types at once. https://hl7.org/fhir/R4/search.html"""

from decimal import Decimal

import pytest

from fhir_server.kernel.errors import Forbidden, InvalidSearch
from fhir_server.kernel.search_query import parse_search, parse_searches
from fhir_server.kernel.subject import Subject, parse_scopes

TEXT = '<div xmlns="http://www.w3.org/1999/xhtml"><p>Fever &amp; <b>chest pain</b> since Monday</p></div>'


@pytest.fixture
async def stock(shelf):
    places = {"zurich": "47.3769 8.5417", "bern": "46.948 7.4474", "fiji": "-17.7 179.9", "nowhere": ""}
    for id, place in places.items():
        body = {"resourceType": "Location", "id": id}
        if place:
            latitude, longitude = map(Decimal, place.split())
            body["position"] = {"latitude": latitude, "longitude": longitude}
        await shelf.update(body)
    for id, family in {"ann": "Lopez", "bob": "Miller", "cat": "Lopez-Miller"}.items():
        patient = {"resourceType": "Patient", "id": id, "name": [{"family": family}], "gender": "female"}
        await shelf.update({**patient, "birthDate": "1980-01-01"} if id != "cat" else patient)
        condition = {"resourceType": "Condition", "id": f"of-{id}", "subject": {"reference": f"Patient/{id}"}}
        await shelf.update(condition)
        observation = {"resourceType": "Observation", "id": f"of-{id}", "status": "final", "code": {"text": "Pulse"}}
        await shelf.update({**observation, "subject": {"reference": f"Patient/{id}"}})
    await shelf.update({"resourceType": "Basic", "id": "told", "code": {"text": "x"}, "text": _narrative()})
    entries = [{"item": {"reference": "Patient/ann"}}, {"item": {"reference": "Condition/of-bob"}}]
    await shelf.update({"resourceType": "List", "id": "mine", "status": "current", "mode": "working", "entry": entries})
    return shelf


def _narrative():
    return {"status": "generated", "div": TEXT}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("47.37|8.54", "zurich"),
        ("47.37|8.54|10|km", "zurich"),
        ("47.37|8.54|10000|m", "zurich"),
        ("47.3769|8.5417|0", "zurich"),
        ("47.37|8.54|90|km", "zurich"),
        ("47.37|8.54|100|km", "bern zurich"),
        ("47.37|8.54|62|[mi_i]", "bern zurich"),
        ("47.37|8.54|20000", "bern fiji zurich"),
        ("-17.7|-179.9|25", "fiji"),
        ("-17.7|-179.9|20", ""),
        ("46.9|7.4|20,-17.7|179|100", "bern fiji"),
    ],
)
async def test_places_are_found_by_how_far_they_are(stock, value, expected):
    assert await stock.search("Location", ("near", value)) == expected.split()


async def test_a_place_can_be_missing_and_must_be_on_earth(stock):
    assert await stock.search("Location", ("near:missing", "true")) == ["nowhere"]
    for value in ("91|0", "0|181", "1", "1|x", "1|1|-5", "1|1|5|kg", "1|1|5|parsecs"):
        with pytest.raises(InvalidSearch, match="'near'"):
            await stock.search("Location", ("near", value))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("_text", "fever", "told"),
        ("_text", "FEVER pain", "told"),
        ("_text", '"chest pain"', "told"),
        ("_text", '"pain chest"', ""),
        ("_text", "fever -pain", ""),
        ("_text", "cough or monday", "told"),
        ("_text", "cough,monday", "told"),
        ("_text", "div", ""),
        ("_content", "generated", "told"),
        ("_content", "xhtml nonsense", ""),
        ("_content", "resourceType", ""),
    ],
)
async def test_texts_are_found_by_their_words(stock, name, value, expected):
    assert await stock.search("Basic", (name, value)) == expected.split()


async def test_content_is_searched_in_every_element_of_what_is_not_deleted(stock):
    assert await stock.search("Patient", ("_content", "lopez")) == ["ann", "cat"]
    await stock.update({"resourceType": "Patient", "id": "gone", "name": [{"family": "Lopez"}]})
    await stock.delete("Patient", "gone")
    assert await stock.search("Patient", ("_content", "lopez")) == ["ann", "cat"]


async def test_a_list_finds_what_it_holds(stock):
    assert await stock.search("Patient", ("_list", "mine")) == ["ann"]
    assert await stock.search("Condition", ("_list", "List/mine")) == ["of-bob"]
    assert await stock.search("Patient", ("_list", "absent")) == []
    with pytest.raises(InvalidSearch, match="_list"):
        await stock.search("Patient", ("_list", "$current-problems"))
    narrow = stock.of(Subject("Practitioner/1", "x", parse_scopes("user/Patient.rs")))
    with pytest.raises(Forbidden):
        await narrow.search("Patient", ("_list", "mine"))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('family eq "lopez"', "ann"),
        ('family sw "lopez"', "ann cat"),
        ('family co "mill"', "bob cat"),
        ('family ew "miller"', "bob cat"),
        ('family ne "lopez"', "bob cat"),
        ('family eq "lopez" or birthdate pr false', "ann cat"),
        ("not(birthdate eq 1980-01-01)", "cat"),
        ("birthdate ne 1980-01-01", ""),
        ("birthdate po 1980", "ann bob"),
        ("gender eq http://hl7.org/fhir/administrative-gender|female and _id eq bob", "bob"),
        ('_has:Observation:patient:code pr true and family sw "miller"', "bob"),
    ],
)
async def test_a_filter_finds_what_it_says(stock, expression, expected):
    assert await stock.search("Patient", ("_filter", expression)) == expected.split()


async def test_a_chain_in_a_filter_needs_the_scope_a_chain_needs(stock):
    asked = ("_filter", 'subject:Patient.family eq "lopez"')
    assert await stock.search("Condition", asked) == ["of-ann"]
    narrow = stock.of(Subject("Practitioner/1", "x", parse_scopes("user/Condition.rs")))
    with pytest.raises(Forbidden):
        await narrow.search("Condition", asked)


async def _in(shelf, *pairs, compartment=None, type=None):
    async with shelf.database.reading(shelf.subject) as reader:
        if type is not None:
            page = await reader.search(parse_search(type, pairs, compartment=compartment))
        else:
            page = await reader.search_types(parse_searches(pairs, compartment=compartment))
    return [stored.reference for stored in page.matches], page


async def test_a_compartment_narrows_a_search_of_one_type_and_of_all(stock):
    assert (await _in(stock, compartment="Patient/ann", type="Condition"))[0] == ["Condition/of-ann"]
    found, page = await _in(stock, ("_total", "accurate"), compartment="Patient/ann")
    assert found == ["Condition/of-ann", "Observation/of-ann", "Patient/ann"]
    assert page.total == 3
    assert (await _in(stock, ("_type", "Patient,Condition"), compartment="Patient/ann"))[0] == [
        "Condition/of-ann",
        "Patient/ann",
    ]
    with pytest.raises(InvalidSearch, match="never in the compartment"):
        parse_search("Location", (), compartment="Patient/1")
    with pytest.raises(InvalidSearch, match="compartments of"):
        parse_search("Patient", (), compartment="Location/1")


async def test_several_types_are_paged_through_once_each(stock):
    asked = [("_type", "Observation,Condition,Patient"), ("_count", "2")]
    seen, cursor = [], None
    for _ in range(10):
        found, page = await _in(stock, *asked, *([("_cursor", cursor)] if cursor else []))
        seen.append(found)
        cursor = page.next
        if cursor is None:
            break
    assert [len(found) for found in seen] == [2, 2, 2, 2, 1]
    assert len({reference for found in seen for reference in found}) == 9
    assert (await _in(stock, *asked, ("_summary", "count")))[1].total == 9
    with pytest.raises(InvalidSearch, match="_sort"):
        parse_searches([*asked, ("_sort", "_id")])
    with pytest.raises(InvalidSearch, match="Did you mean 'Patient'"):
        parse_searches([("_type", "Patent")])


async def test_types_a_token_may_not_search_are_left_out_unless_it_names_them(stock):
    patient = stock.of(Subject("Patient/ann", "x", parse_scopes("patient/Condition.rs patient/Patient.rs"), "ann"))
    assert (await _in(patient, ("_id:not", "x")))[0] == ["Condition/of-ann", "Patient/ann"]
    with pytest.raises(Forbidden):
        await _in(patient, ("_type", "Observation"))


async def test_an_estimate_is_the_planners_and_only_for_who_sees_everything(stock):
    asked = [("_total", "estimate"), ("_count", "0")]
    assert isinstance((await _in(stock, *asked, type="Patient"))[1].total, int)
    patient = stock.of(Subject("Patient/ann", "x", parse_scopes("patient/Patient.rs"), "ann"))
    assert (await _in(patient, *asked, type="Patient"))[1].total == 1
