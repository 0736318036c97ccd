"""Enhanced mode: CA at the inbox commit, mapping afterwards in the order of arrival, the application answer later."""

import asyncio

import pytest

from adapters.hl7v2 import delivery, replay
from adapters.hl7v2.ack import Acknowledgement
from adapters.hl7v2.lanes import Lanes
from adapters.hl7v2.peer import Peer
from adapters.hl7v2.receive import PROCESS, Intake
from adapters.hl7v2.sites import Sites
from fhir_server.jobs.app import Jobs
from fhir_server.store.message_counts import conservation

PEER = Peer("127.0.0.1", 2575)
ASKS_FOR_BOTH = "|||AL|AL"
ASKS_FOR_NOTHING = "|||NE|NE"
DESTINATIONS = {"answers": {"host": "127.0.0.1", "port": 1}}


@pytest.fixture
def hospital(database, site):
    """``hospital(acknowledge="aa")`` → an intake, its lanes, and the list of jobs the intake enqueued."""

    def build(**settings):
        jobs: list[tuple] = []

        async def enqueue(_connection, name, arguments, lock):
            jobs.append((name, arguments, lock))

        sites = Sites([site(**settings)])
        return Intake(database, sites, enqueue=enqueue), Lanes(database, sites), jobs

    return build


async def received(intake, raw: bytes) -> Acknowledgement:
    answer = Acknowledgement.parse(await intake.receive(raw, PEER) or b"")
    assert answer is not None
    return answer


async def patients(database, everything, mrn: str) -> list:
    async with database.transaction(everything) as tx:
        return await tx.reader.find("Patient", identifier=f"https://lakeside.example/mrn|{mrn}")


async def test_a_sender_that_asks_gets_ca_before_the_message_is_mapped(hospital, database, everything, adt):
    intake, lanes, jobs = hospital()
    assert (await received(intake, adt("L1", mrn="L1", msh=ASKS_FOR_BOTH))).code == "CA"
    assert await patients(database, everything, "L1") == []
    [(name, arguments, lock)] = jobs
    assert (name, arguments) == (PROCESS, {"lane": lock})
    assert "L1" not in lock, "a patient's number must not reach the names of jobs"
    await lanes.process(lock)
    assert len(await patients(database, everything, "L1")) == 1


async def test_a_sender_that_wants_no_answer_is_answered_in_original_mode_all_the_same(hospital, adt):
    intake, _, jobs = hospital()
    assert (await received(intake, adt("L2", mrn="L2", msh=ASKS_FOR_NOTHING))).code == "AA"
    assert jobs == []


@pytest.mark.parametrize(("mode", "msh", "code"), [
    ("original", ASKS_FOR_BOTH, "AA"), ("enhanced", "", "CA"), ("aa", "", "AA"), ("auto", "", "AA"),
])  # fmt: skip
async def test_the_mode_of_the_site_decides_the_answer(hospital, adt, mode, msh, code):
    intake, _, _ = hospital(acknowledge=mode)
    assert (await received(intake, adt(f"L3{mode}", mrn="L3", visit=f"L3{mode}", msh=msh))).code == code


async def test_a_resend_of_a_waiting_message_gets_the_same_commit_acknowledgement_and_is_processed_once(
    hospital, database, everything, adt
):
    intake, lanes, jobs = hospital(acknowledge="enhanced")
    raw = adt("L4", mrn="L4", visit="L4")
    assert await intake.receive(raw, PEER) == await intake.receive(raw, PEER)
    for _, arguments, _ in jobs:
        await lanes.process(**arguments)
    assert [stored.version for stored in await patients(database, everything, "L4")] == [1]


async def test_messages_of_a_lane_are_processed_in_the_order_they_were_accepted(hospital, database, everything, adt):
    intake, lanes, jobs = hospital(acknowledge="enhanced")
    for n, city in enumerate(["BOSTON", "NEWPORT", "PROVIDENCE"]):
        await intake.receive(adt(f"L5-{n}", event="A08", mrn="L5", city=city, when=f"2026030208000{n}"), PEER)
    await lanes.process(jobs[0][2])
    [patient] = await patients(database, everything, "L5")
    assert (patient.resource()["address"][0]["city"], patient.version) == ("PROVIDENCE", 3)


async def test_a_failed_message_stays_visible_and_lets_later_ones_pass(hospital, database, everything, adt):
    intake, lanes, jobs = hospital(acknowledge="enhanced")
    await intake.receive(adt("L6-1", mrn="L6").replace(b"ADT^A01^ADT_A01", b"XYZ^Z99^XYZ_Z99"), PEER)
    await intake.receive(adt("L6-2", mrn="L6", visit="L6"), PEER)
    await lanes.process(jobs[0][2])
    assert len(await patients(database, everything, "L6")) == 1
    failed = [row.control_id for row in await replay.list_messages(database, status="failed")]
    assert "L6-1" in failed


async def test_the_application_acknowledgement_is_queued_as_a_message_of_its_own(hospital, database, adt):
    settings = {"destinations": DESTINATIONS, "application_acknowledgements": "answers"}
    intake, lanes, jobs = hospital(**settings)
    await intake.receive(adt("L7", mrn="L7", visit="L7", msh=ASKS_FOR_BOTH), PEER)
    await lanes.process(jobs[0][2])
    [queued] = [row for row in await delivery.list_outbound(database) if row.destination == "lakeside/answers"]
    answer = Acknowledgement.parse(queued.raw)
    assert answer is not None
    assert (answer.code, answer.control_id) == ("AA", "L7")
    assert queued.control_id.encode() in queued.raw


async def test_two_workers_on_one_lane_process_each_message_once(hospital, database, everything, adt):
    intake, lanes, jobs = hospital(acknowledge="enhanced")
    for n in range(4):
        await intake.receive(adt(f"L8-{n}", mrn="L8", visit=f"L8-{n}", when=f"2026030208000{n}"), PEER)
    await asyncio.gather(*(lanes.process(jobs[0][2]) for _ in range(3)))
    rows = [row for row in await replay.list_messages(database) if row.control_id.startswith("L8-")]
    assert [row.status for row in rows] == ["processed"] * 4
    assert {(await replay.show(database, row.id)).message.attempts for row in rows} == {1}


async def test_the_job_engine_processes_what_was_accepted(database_url, database, everything, site, adt):
    jobs, sites = Jobs(database_url), Sites([site(acknowledge="enhanced")])
    jobs.register(PROCESS, Lanes(database, sites).process)
    intake = Intake(database, sites, enqueue=jobs.enqueue)
    answers = [await received(intake, adt(f"L9-{n}", mrn=f"L9-{n}", visit=f"L9-{n}")) for n in range(5)]
    await jobs.run_waiting(concurrency=2)
    assert {answer.code for answer in answers} == {"CA"}
    assert [len(await patients(database, everything, f"L9-{n}")) for n in range(5)] == [1] * 5


async def test_where_the_site_says_so_a_failed_message_holds_its_patients_later_ones_until_it_is_mended(
    hospital, database, everything, site, adt
):
    intake, lanes, jobs = hospital(after_failure="hold")
    broken = adt("LH1", mrn="LH1", msh=ASKS_FOR_BOTH).replace(b"19610412", b"never")
    await intake.receive(broken, PEER)
    await intake.receive(adt("LH2", mrn="LH1", msh=ASKS_FOR_BOTH), PEER)
    await intake.receive(adt("LH3", mrn="LH3", msh=ASKS_FOR_BOTH), PEER)
    lane = jobs[0][2]
    for name in dict.fromkeys(job[2] for job in jobs):
        await lanes.process(name)
    status = {row.control_id: (row.status, row.id) for row in await replay.list_messages(database)}
    assert [status[name][0] for name in ("LH1", "LH2", "LH3")] == ["failed", "accepted", "processed"]
    again: list[str] = []

    async def enqueue(_connection, _name, _arguments, lock):
        again.append(lock)

    await replay.pass_over(database, status["LH1"][1], enqueue=enqueue)
    assert again == [lane]
    await lanes.process(lane)
    assert len(await patients(database, everything, "LH1")) == 1


async def test_a_message_that_waits_with_no_job_is_found_by_the_check(hospital, database, adt):
    intake, lanes, jobs = hospital()
    async with database.connection() as connection:
        before = await conservation(connection)
    await intake.receive(adt("LC1", mrn="LC1", msh=ASKS_FOR_BOTH), PEER)
    async with database.connection() as connection:
        found = await conservation(connection)
    assert (found.received - before.received, found.stranded - before.stranded, found.holds) == (1, 1, False)
    await lanes.process(jobs[0][2])
    async with database.connection() as connection:
        assert (await conservation(connection)).stranded == before.stranded
