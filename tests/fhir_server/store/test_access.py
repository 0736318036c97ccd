"""What a Subject may not see is as if it were absent, whatever it tries.

https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

import itertools

import pytest

from fhir_server.kernel.errors import FhirError, Forbidden, NotFound
from fhir_server.kernel.search_query import parse_search
from fhir_server.kernel.subject import Subject, parse_scopes
from fhir_server.store.database import Database

LAB = {"coding": [{"system": "urn:c", "code": "laboratory"}]}
IMAGING = {"coding": [{"system": "urn:c", "code": "imaging"}]}


def subject(scopes: str, patient: str | None = None) -> Subject:
    return Subject(f"Patient/{patient}" if patient else "Practitioner/1", "tests", parse_scopes(scopes), patient)


def observation(patient: str, category: dict | None = None, **more):
    base = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    return {**base, "subject": {"reference": f"Patient/{patient}"}, "category": [category or LAB], **more}


@pytest.fixture
async def ward(shelf):
    """Two patients, each with observations; one observation of A focuses on B."""
    for patient in ("a", "b"):
        await shelf.update({"resourceType": "Patient", "id": patient, "name": [{"family": f"Family-{patient}"}]})
        await shelf.update({**observation(patient), "id": f"lab-{patient}"})
        await shelf.update({**observation(patient, IMAGING), "id": f"img-{patient}"})
    await shelf.update({**observation("a"), "id": "focus-b", "focus": [{"reference": "Patient/b"}]})
    await shelf.update({"resourceType": "Organization", "id": "org", "name": "Lakeside"})
    return shelf


async def test_without_a_scope_every_interaction_is_forbidden(ward):
    nobody = ward.of(subject(""))
    for attempt in (
        nobody.read("Patient", "a"),
        nobody.search("Patient"),
        nobody.create({"resourceType": "Patient"}),
        nobody.update({"resourceType": "Patient", "id": "a"}),
        nobody.delete("Patient", "a"),
    ):
        with pytest.raises(Forbidden):
            await attempt


async def test_a_patient_scope_without_a_patient_grants_nothing(ward):
    with pytest.raises(Forbidden):
        await ward.of(subject("patient/*.cruds")).search("Patient")


async def test_a_patient_sees_its_compartment_only(ward):
    patient = ward.of(subject("patient/*.rs", "a"))
    assert await patient.search("Patient") == ["a"]
    assert await patient.search("Observation") == ["focus-b", "img-a", "lab-a"]
    assert await patient.search("Organization") == []
    for hidden in (("Patient", "b"), ("Observation", "lab-b"), ("Organization", "org"), ("Patient", "never-was")):
        with pytest.raises(NotFound):
            await patient.read(*hidden)


async def test_a_scope_narrowed_by_a_search_lets_only_its_matches_through(ward):
    labs = ward.of(subject("user/Observation.rs?category=urn:c|laboratory"))
    assert await labs.search("Observation") == ["focus-b", "lab-a", "lab-b"]
    assert (await labs.page("Observation", ("_total", "accurate"))).total == 3
    with pytest.raises(NotFound):
        await labs.read("Observation", "img-a")


@pytest.mark.parametrize("query", ["no-such-parameter=1", "category", "_count=5", "code:in=http://example.org/unknown"])
async def test_a_narrowing_that_cannot_be_compiled_denies(ward, query):
    with pytest.raises(FhirError) as refusal:
        await ward.of(subject(f"user/Observation.rs?{query}")).search("Observation")
    assert refusal.value.status in (400, 403)


async def test_includes_bring_nothing_that_is_hidden(ward):
    patient = ward.of(subject("patient/*.rs", "a"))
    page = await patient.page("Observation", ("_include", "Observation:*"))
    assert {stored.reference for stored in page.included} == {"Patient/a"}
    page = await patient.page("Patient", ("_revinclude", "Observation:focus"), ("_revinclude", "Observation:subject"))
    assert {stored.id for stored in page.included} == {"focus-b", "img-a", "lab-a"}
    only = ward.of(subject("patient/Observation.rs", "a"))
    assert (await only.page("Observation", ("_include", "Observation:subject"))).included == ()


async def test_chains_and_has_tell_nothing_about_what_is_hidden(ward):
    patient = ward.of(subject("patient/*.rs", "a"))
    assert await patient.search("Observation", ("focus:Patient.name", "family-b")) == []
    assert await patient.search("Patient", ("_has:Observation:focus:status", "final")) == []
    only = ward.of(subject("patient/Observation.rs", "a"))
    with pytest.raises(Forbidden):
        await only.search("Observation", ("subject:Patient.name", "family-a"))


async def test_a_write_must_be_allowed_for_the_old_and_the_new_image(ward):
    writer = ward.of(subject("patient/Observation.cruds", "a"))
    mine = (await writer.create(observation("a"))).id
    with pytest.raises(Forbidden):
        await writer.create(observation("b"))
    with pytest.raises(Forbidden):
        await writer.update({**observation("b"), "id": mine})
    with pytest.raises(NotFound):
        await writer.update({**observation("a"), "id": "lab-b"})
    await writer.delete("Observation", "lab-b")
    assert (await ward.read("Observation", "lab-b")).version == 1


async def test_a_write_must_match_the_search_that_narrows_its_scope(ward):
    labs = ward.of(subject("user/Observation.cruds?category=urn:c|laboratory&status=final"))
    stored = await labs.create(observation("a"))
    with pytest.raises(Forbidden):
        await labs.create(observation("a", IMAGING))
    with pytest.raises(Forbidden):
        await labs.update({**stored.resource(), "category": [IMAGING]})
    with pytest.raises(NotFound):
        await labs.update({**observation("a"), "id": "img-a"})


async def test_versions_from_before_a_move_stay_hidden(ward, database):
    moved = await ward.create(observation("b"))
    moved = await ward.update({**observation("a"), "id": moved.id})
    async with database.reading(subject("patient/*.rs", "a")) as reader:
        assert [entry.version for entry in (await reader.history("Observation", moved.id)).entries] == [2]
        with pytest.raises(NotFound):
            await reader.vread("Observation", moved.id, "1")
    async with database.reading(subject("patient/*.rs", "b")) as reader:
        with pytest.raises(NotFound):
            await reader.vread("Observation", moved.id, "1")


async def test_versions_are_narrowed_by_the_scope_they_are_read_with(ward, database):
    await ward.update({**observation("a", IMAGING), "id": "turned"})
    await ward.update({**observation("a", LAB), "id": "turned"})
    async with database.reading(subject("user/Observation.rs?category=laboratory")) as reader:
        page = await reader.history("Observation", "turned")
    assert ([entry.version for entry in page.entries], page.total) == ([2], 1)


async def test_a_deleted_resource_that_was_hidden_is_not_told_from_one_that_never_was(ward):
    await ward.create(observation("b"), id="gone-b")
    await ward.delete("Observation", "gone-b")
    with pytest.raises(NotFound):
        await ward.of(subject("patient/*.rs", "a")).read("Observation", "gone-b")


async def test_a_condition_matches_only_what_the_caller_sees(ward, database):
    identified = observation("b", identifier=[{"system": "urn:i", "value": "1"}])
    await ward.create(identified)
    criteria = parse_search("Observation", [("identifier", "urn:i|1")])
    async with database.transaction(subject("patient/Observation.cruds", "a")) as tx:
        result = await tx.writer.create({**identified, "subject": {"reference": "Patient/a"}}, if_none_exist=criteria)
    assert result.outcome == "created"


async def test_a_binary_lies_where_its_security_context_says(ward):
    binary = {"resourceType": "Binary", "contentType": "text/plain", "data": "SGVsbG8="}
    await ward.update({**binary, "id": "of-a", "securityContext": {"reference": "Patient/a"}})
    await ward.update({**binary, "id": "of-none"})
    patient = ward.of(subject("patient/*.rs", "a"))
    assert (await patient.read("Binary", "of-a")).id == "of-a"
    with pytest.raises(NotFound):
        await patient.read("Binary", "of-none")


QUERIES = [
    ("Patient", ()),
    ("Patient", (("name", "family"),)),
    ("Patient", (("_sort", "name"), ("_count", "1"))),
    ("Patient", (("_has:Observation:subject:status", "final"), ("_total", "accurate"))),
    ("Observation", (("subject", "Patient/b"), ("_total", "accurate"))),
    ("Observation", (("subject:missing", "false"), ("_sort", "-_lastUpdated"))),
    ("Observation", (("category:not", "laboratory"), ("_include", "Observation:*"))),
    ("Observation", (("subject:Patient.name", "family"), ("_revinclude", "Provenance:target"))),
    ("Observation", (("_count", "0"),)),
]


async def answers(database: Database, who: Subject) -> list[object]:
    """Return what everything one may try is answered with."""
    found: list[object] = []
    async with database.reading(who) as reader:
        for type, query in QUERIES:
            page = await reader.search(parse_search(type, query))
            ids = sorted(stored.reference for stored in page.matches)
            found.append((ids, sorted(stored.reference for stored in page.included), page.total, page.next is None))
        for type, id in itertools.product(("Patient", "Observation"), ("a", "b", "lab-a", "lab-b", "img-b", "extra")):
            for attempt in (reader.read(type, id), reader.vread(type, id, "1"), reader.history(type, id)):
                try:
                    result = await attempt
                    found.append(getattr(result, "version", None) or len(result.entries))
                except FhirError as error:
                    found.append((error.status, str(error)))
    return found


async def test_databases_that_differ_in_hidden_data_only_give_the_same_answers(ward, database):
    who = subject("patient/*.rs", "a")
    before = await answers(database, who)
    await ward.update({**observation("b"), "id": "extra"})
    await ward.update({**observation("b", IMAGING), "id": "lab-b"})
    await ward.delete("Observation", "img-b")
    await ward.update({"resourceType": "Patient", "id": "b", "name": [{"family": "Aaaa"}]})
    assert await answers(database, who) == before
