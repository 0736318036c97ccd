import asyncio

import pytest

from fhir_server.kernel import json
from fhir_server.kernel.errors import (
    BusinessRule,
    Conflict,
    Gone,
    InvalidRequest,
    InvalidResource,
    NotFound,
    PreconditionFailed,
)
from fhir_server.kernel.search_query import parse_search
from fhir_server.store.database import Database, Wiring
from fhir_server.store.failures import Collision

PATIENT = {"resourceType": "Patient", "active": True}


async def test_a_created_resource_gets_an_id_a_version_and_a_time_and_keeps_its_element_order(shelf):
    text = '{"resourceType":"Patient","birthDate":"1970","active":true,"gender":"female"}'
    stored = await shelf.create(text)
    assert list(stored.resource()) == ["resourceType", "id", "meta", "birthDate", "active", "gender"]
    assert stored.resource()["meta"]["versionId"] == "1"
    assert stored.resource()["meta"]["lastUpdated"].endswith("Z")
    assert (await shelf.read("Patient", stored.id)).body == stored.body


async def test_decimals_and_every_unicode_character_come_back_digit_for_digit(shelf):
    text = (
        '{"resourceType":"Observation","status":"final","code":{"text":"a😀\\u00e9"},'
        '"valueQuantity":{"value":1.00,"unit":"µg"},"component":[{"code":{"text":"b"},"valueQuantity":{"value":1e-7}}]}'
    )
    stored = await shelf.create(text)
    body = (await shelf.read("Observation", stored.id)).body
    assert '"value":1.00,' in body
    assert json.decode(text)["component"] == json.decode(body)["component"]
    assert "a😀é" in body


async def test_meta_of_the_client_is_kept_but_version_and_time_are_the_servers(shelf):
    meta = {"versionId": "99", "lastUpdated": "1999-01-01T00:00:00Z", "tag": [{"code": "x"}], "profile": ["http://p"]}
    stored = await shelf.create({**PATIENT, "meta": meta})
    kept = stored.resource()["meta"]
    assert kept["versionId"] == "1"
    assert not kept["lastUpdated"].startswith("1999")
    assert (kept["tag"], kept["profile"]) == ([{"code": "x"}], ["http://p"])


async def test_an_update_makes_the_next_version_and_the_old_one_stays_readable(shelf, database, everyone):
    first = await shelf.create(PATIENT)
    second = await shelf.update({**first.resource(), "active": False})
    assert (second.version, second.last_updated > first.last_updated) == (2, True)
    async with database.reading(everyone) as reader:
        assert (await reader.vread("Patient", first.id, "1")).body == first.body
        assert (await reader.vread("Patient", first.id, "2")).body == second.body


@pytest.mark.parametrize("again", ["as stored", "without meta"])
async def test_identical_content_makes_no_new_version(shelf, database, everyone, again):
    first = await shelf.create(PATIENT)
    resource = first.resource()
    if again == "without meta":
        del resource["meta"]
    async with database.transaction(everyone) as tx:
        result = await tx.writer.update(resource)
    assert (result.outcome, result.stored.version) == ("unchanged", 1)


async def test_a_decimal_that_gains_a_digit_is_a_change(shelf):
    template = (
        '{"resourceType":"Observation","id":"dec","status":"final","code":{"text":"x"},"valueQuantity":{"value":%s}}'
    )
    await shelf.update(json.decode(template % "1.0"))
    assert (await shelf.update(json.decode(template % "1.00"))).version == 2


async def test_an_update_of_an_unknown_id_creates_it(database, everyone):
    async with database.transaction(everyone) as tx:
        result = await tx.writer.update({**PATIENT, "id": "chosen"})
    assert (result.outcome, result.stored.version, result.stored.method) == ("created", 1, "create")


async def test_a_create_under_a_taken_id_is_a_conflict(shelf):
    await shelf.create(PATIENT, id="taken")
    with pytest.raises(Conflict):
        await shelf.create(PATIENT, id="taken")


@pytest.mark.parametrize("id", ["", "a b", "x" * 65, "ü"])
async def test_an_id_that_is_none_is_refused(shelf, id):
    with pytest.raises(InvalidRequest):
        await shelf.update({**PATIENT, "id": id})


async def test_a_deleted_resource_is_gone_and_coming_back_it_goes_on_counting(shelf, database, everyone):
    stored = await shelf.create(PATIENT)
    await shelf.delete("Patient", stored.id)
    await shelf.delete("Patient", stored.id)
    with pytest.raises(Gone):
        await shelf.read("Patient", stored.id)
    again = await shelf.update({**PATIENT, "id": stored.id})
    assert again.version == 3
    async with database.reading(everyone) as reader:
        page = await reader.history("Patient", stored.id)
        with pytest.raises(Gone):
            await reader.vread("Patient", stored.id, "2")
    assert [(entry.version, entry.method) for entry in page.entries] == [(3, "create"), (2, "delete"), (1, "create")]


async def test_deleting_what_is_not_there_does_nothing(database, everyone):
    async with database.transaction(everyone) as tx:
        assert await tx.writer.delete("Patient", "never-was") is None


@pytest.mark.parametrize("version", [1, 3])
async def test_if_match_with_another_version_is_refused(shelf, version):
    first = await shelf.create(PATIENT)
    await shelf.update({**first.resource(), "active": False})
    with pytest.raises(PreconditionFailed):
        await shelf.update({**first.resource(), "gender": "other"}, if_match=version)


async def test_an_invalid_resource_is_refused_with_the_place_of_each_fault(shelf):
    with pytest.raises(InvalidResource) as refusal:
        await shelf.create({"resourceType": "Patient", "birthDate": "yesterday", "colour": "red"})
    assert {issue.expression for issue in refusal.value.issues} == {"Patient.birthDate", "Patient.colour"}


async def test_a_nul_character_is_refused(shelf):
    with pytest.raises(InvalidResource):
        await shelf.create('{"resourceType":"Patient","name":[{"family":"a\\u0000b"}]}')


async def test_a_guard_that_says_no_leaves_nothing_behind(database_url, everyone):
    seen = []

    async def guard(change, tx):
        seen.append((change.method, change.old, change.new and change.new["active"]))
        if change.new and not change.new["active"]:
            raise BusinessRule("A patient stays active.")

    database = await Database.open(database_url, wiring=Wiring(guards=(guard,)))
    try:
        async with database.transaction(everyone) as tx:
            stored = (await tx.writer.create({**PATIENT, "id": "guarded"}, id="guarded")).stored
        with pytest.raises(BusinessRule):
            async with database.transaction(everyone) as tx:
                await tx.writer.update({**stored.resource(), "active": False})
        async with database.reading(everyone) as reader:
            assert (await reader.read("Patient", "guarded")).version == 1
    finally:
        await database.close()
    assert [(method, new) for method, _, new in seen] == [("create", True), ("update", False)]


async def test_the_jobs_of_a_write_are_enqueued_on_its_own_connection(database_url, everyone):
    enqueued = []

    async def enqueue(connection, name, arguments, lock):
        enqueued.append((name, arguments, lock, connection.info.transaction_status.name))

    wiring = Wiring(reactions={"Patient": ("react",)}, enqueue=enqueue)
    database = await Database.open(database_url, wiring=wiring)
    async with database.transaction(everyone) as tx:
        await tx.reader.search(parse_search("Patient", []))
        stored = (await tx.writer.create(PATIENT)).stored
        await tx.writer.create({"resourceType": "Basic", "code": {"text": "no reaction"}})
    await database.close()
    arguments = {"resource_type": "Patient", "id": stored.id, "version": 1}
    assert enqueued == [("react", arguments, f"Patient/{stored.id}", "INTRANS")]


async def test_fifty_parallel_conditional_creates_make_exactly_one_resource(database, everyone):
    criteria = parse_search("Patient", [("identifier", "urn:race|1")])
    patient = {**PATIENT, "identifier": [{"system": "urn:race", "value": "1"}]}

    async def create():
        async with database.transaction(everyone) as tx:
            return await tx.writer.create(patient, if_none_exist=criteria)

    results = await asyncio.gather(*(create() for _ in range(50)))
    outcomes = [result.outcome for result in results]
    assert (outcomes.count("created"), outcomes.count("existing")) == (1, 49)
    assert len({result.stored.id for result in results}) == 1


async def test_a_condition_that_matches_many_is_refused(shelf, database, everyone):
    for _ in range(2):
        await shelf.create({**PATIENT, "identifier": [{"system": "urn:many", "value": "1"}]})
    with pytest.raises(PreconditionFailed):
        async with database.transaction(everyone) as tx:
            criteria = parse_search("Patient", [("identifier", "urn:many|1")])
            await tx.writer.create(PATIENT, if_none_exist=criteria)


async def test_a_conditional_create_sees_what_the_same_transaction_created(database, everyone):
    criteria = parse_search("Patient", [("identifier", "urn:same|1")])
    patient = {**PATIENT, "identifier": [{"system": "urn:same", "value": "1"}]}
    async with database.transaction(everyone) as tx:
        first = await tx.writer.create(patient, if_none_exist=criteria)
        second = await tx.writer.create(patient, if_none_exist=criteria)
    assert (first.outcome, second.outcome, second.stored.id) == ("created", "existing", first.stored.id)


async def test_no_update_is_lost_when_many_count_up_one_resource(shelf, database, everyone):
    stored = await shelf.create({"resourceType": "Basic", "code": {"text": "0"}})

    async def count_up():
        while True:
            current = await shelf.read("Basic", stored.id)
            counted = {**current.resource(), "code": {"text": str(int(current.resource()["code"]["text"]) + 1)}}
            try:
                await shelf.update(counted, if_match=current.version)
            except PreconditionFailed:
                continue
            return

    await asyncio.gather(*(count_up() for _ in range(12)))
    final = await shelf.read("Basic", stored.id)
    assert (final.resource()["code"]["text"], final.version) == ("12", 13)


async def test_parallel_creates_of_one_chosen_id_end_in_one_resource_with_all_versions(database, everyone):
    async def put(number: int):
        async def work(tx):
            return await tx.writer.update({"resourceType": "Basic", "id": "raced", "code": {"text": str(number)}})

        return await database.run(everyone, work)

    results = await asyncio.gather(*(put(number) for number in range(10)))
    assert sorted(result.stored.version for result in results) == list(range(1, 11))


async def test_the_loser_of_a_race_for_an_id_is_told_to_try_again(database, everyone):
    basic = {"resourceType": "Basic", "id": "collided", "code": {"text": "x"}}
    async with database.transaction(everyone) as first:
        await first.writer.update(basic)
        await first.writer.flush()
        second = asyncio.create_task(_put(database, everyone, basic))
        await asyncio.sleep(0.2)
    with pytest.raises(Collision):
        await second


async def _put(database, subject, resource):
    async with database.transaction(subject) as tx:
        await tx.writer.update(resource)


async def test_transactions_that_lock_in_opposite_order_both_succeed(shelf, database, everyone):
    ids = [(await shelf.create({"resourceType": "Basic", "code": {"text": "0"}})).id for _ in range(2)]
    met = asyncio.Barrier(2)

    async def both(order):
        tries = 0

        async def work(tx):
            nonlocal tries
            tries += 1
            for place, id in enumerate(order):
                await tx.writer.update({"resourceType": "Basic", "id": id, "code": {"text": f"{order[0]} {tries}"}})
                await tx.writer.flush()
                if place == 0 and tries == 1:
                    await met.wait()

        await database.run(everyone, work)
        return tries

    tries = await asyncio.gather(both(ids), both(ids[::-1]))
    assert sorted(tries) == [1, 2]


async def test_an_exception_rolls_the_whole_transaction_back(database, everyone):
    class Interrupted(Exception):
        pass

    with pytest.raises(Interrupted):
        async with database.transaction(everyone) as tx:
            await tx.writer.create(PATIENT, id="rolled-back")
            await tx.writer.flush()
            raise Interrupted
    async with database.reading(everyone) as reader:
        with pytest.raises(NotFound):
            await reader.read("Patient", "rolled-back")


async def test_a_bundle_of_many_types_and_versions_is_written_in_one_transaction(database, everyone):
    async with database.transaction(everyone) as tx:
        for number in range(300):
            await tx.writer.create({"resourceType": "Basic", "code": {"text": str(number)}}, id=f"many-{number}")
            await tx.writer.create(PATIENT, id=f"many-{number}")
        await tx.writer.update({"resourceType": "Basic", "id": "many-7", "code": {"text": "seven"}})
        await tx.writer.delete("Patient", "many-8")
    async with database.reading(everyone) as reader:
        assert (await reader.read("Basic", "many-7")).version == 2
        assert len((await reader.history("Patient", "many-8")).entries) == 2


async def test_what_was_written_is_found_before_the_commit(database, everyone):
    async with database.transaction(everyone) as tx:
        stored = (await tx.writer.create({**PATIENT, "name": [{"family": "Unseen"}]})).stored
        assert [found.id for found in await tx.reader.find("Patient", family="unseen")] == [stored.id]
        assert (await tx.reader.read("Patient", stored.id)).version == 1
