import asyncio
import hashlib
import signal
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from adapters.dicomweb.client import PacsRefused, PacsUnavailable
from adapters.dicomweb.ingest import Intake
from fhir_server.kernel.errors import Gone, NotFound
from fhir_server.kernel.subject import Subject
from fhir_server.store import imaging as index
from konsil.demo.phantom import instances
from mappings.dicom.imaging_study import imaging_study_id

from .conftest import MRN, phantom

SITE = "LAKESIDE"
tester = Subject.system("test", "system/*.cruds")


async def state_of(database, study):
    async with database.transaction(tester) as tx:
        return await index.pull(tx.connection, SITE, study.study_uid)


async def imaging_study_of(database, study):
    async with database.transaction(tester) as tx:
        return await tx.reader.read("ImagingStudy", imaging_study_id(SITE, study.study_uid))


async def stored_of(database, study):
    async with database.transaction(tester) as tx:
        return await index.instances(tx.connection, SITE, study.study_uid)


async def discover_by_job(database, jobs, patient):
    async with database.transaction(tester) as tx:
        await jobs.enqueue(tx.connection, "dicomweb.discover", {"site": SITE, "patient": patient})
    await jobs.run_waiting()


async def add_patient(database, mrn, name="Alvarez", birth_date="1961-04-12"):
    async with database.transaction(tester) as tx:
        result = await tx.writer.create(
            {
                "resourceType": "Patient",
                "identifier": [{"system": MRN, "value": mrn}],
                "name": [{"family": name, "given": ["Maria"]}],
                "birthDate": birth_date,
            }
        )
    return f"Patient/{result.stored.id}"


async def test_a_discovered_study_arrives_byte_for_byte_and_becomes_an_imaging_study(
    orthanc, imaging, jobs, patient, study, files, database, blobs
):
    orthanc.store(files)
    await discover_by_job(database, jobs, patient)
    stored = await stored_of(database, study)
    kept = [b"".join([chunk async for chunk in blobs.chunks(one.sha256)]) for one in stored]
    assert sorted(kept) == sorted(files)
    resource = (await imaging_study_of(database, study)).resource()
    assert (resource["numberOfSeries"], resource["numberOfInstances"]) == (2, 14)
    assert resource["subject"] == {"reference": patient}
    assert resource["started"] == "2026-03-02T09:14:07-05:00"
    assert (await state_of(database, study)).state == "done"


async def test_pulling_what_is_complete_fetches_nothing_and_writes_no_new_version(
    orthanc, proxy, pacs_of, imaging_with, study, files, patient, database
):
    orthanc.store(files)
    imaging = imaging_with(replace(pacs_of(orthanc), url=proxy.url))
    await imaging.discover(SITE, patient)
    await imaging.pull(SITE, study.study_uid)
    before = await imaging_study_of(database, study)
    proxy.requests.clear()
    assert await imaging.pull(SITE, study.study_uid) == "done"
    assert all("/instances?" in path or "/series?" in path or "/studies?" in path for path in proxy.requests)
    assert (await imaging_study_of(database, study)).version == before.version
    assert await imaging.discover(SITE, patient) == []


async def test_a_pull_cut_in_the_middle_fetches_only_what_is_missing_the_next_time(
    orthanc, proxy, pacs_of, imaging_with, database
):
    study = phantom(patient_id="cut-1", slices=20, size=128)
    files = list(instances(study))
    orthanc.store(files)
    patient = await add_patient(database, "cut-1")
    imaging = imaging_with(replace(pacs_of(orthanc), url=proxy.url))
    await imaging.discover(SITE, patient)
    proxy.budget = 33_000 * 18
    with pytest.raises(PacsUnavailable):
        await imaging.pull(SITE, study.study_uid)
    partial = await state_of(database, study)
    assert (partial.state, partial.reason) == ("partial", "archive-unavailable")
    assert 8 <= partial.stored < partial.expected == 22
    with pytest.raises(NotFound):
        await imaging_study_of(database, study)
    proxy.budget = None
    proxy.requests.clear()
    assert await imaging.pull(SITE, study.study_uid) == "done"
    fetched = [path for path in proxy.requests if path.rpartition("/")[0].endswith("/instances")]
    assert len(fetched) == partial.expected - partial.stored
    assert {one.sha256 for one in await stored_of(database, study)} == {
        hashlib.sha256(file).hexdigest() for file in files
    }


async def test_a_worker_killed_in_the_middle_loses_no_stored_instance(
    orthanc, proxy, pacs_of, imaging_with, database, database_url, blobs
):
    study = phantom(patient_id="killed-1", slices=20, size=128)
    orthanc.store(instances(study))
    patient = await add_patient(database, "killed-1")
    pacs = replace(pacs_of(orthanc), url=proxy.url)
    imaging = imaging_with(pacs)
    await imaging.discover(SITE, patient)
    proxy.pace_s = 0.02
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _victim, database_url, str(blobs.local), pacs.url, study.study_uid, cwd=Path.cwd()
    )
    while (await state_of(database, study)).stored < 8:
        assert victim.returncode is None
        await asyncio.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    await victim.wait()
    kept = {one.sop_uid for one in await stored_of(database, study)}
    assert 8 <= len(kept) < 22
    proxy.pace_s = 0
    assert await imaging.pull(SITE, study.study_uid) == "done"
    stored = await stored_of(database, study)
    assert len(stored) == 22
    for one in stored:
        content = b"".join([chunk async for chunk in blobs.chunks(one.sha256)])
        assert hashlib.sha256(content).hexdigest() == one.sha256


_victim = f"""
import asyncio, sys
from adapters.dicomweb.blobs import Blobs
from adapters.dicomweb.client import Pacs
from adapters.dicomweb.pull import Imaging
from fhir_server.jobs.app import Jobs
from fhir_server.store.database import Database

async def main():
    conninfo, place, url, study = sys.argv[1:]
    pacs = Pacs("{SITE}", url, "{MRN}", "x", user="konsil", password="secret")
    database = await Database.open(conninfo)
    imaging = Imaging(database, Blobs.open(place), {{"{SITE}": pacs}}, "http://127.0.0.1", Jobs(conninfo))
    await imaging.pull("{SITE}", study)

asyncio.run(main())
"""


async def test_an_archive_that_is_down_is_asked_again_until_it_is_up(orthanc, imaging, jobs, database):
    study = phantom(patient_id="down-1", slices=3)
    orthanc.store(instances(study))
    patient = await add_patient(database, "down-1")
    assert await imaging.discover(SITE, patient) == [study.study_uid]
    orthanc.stop()
    try:
        await jobs.run_waiting()
        down = await state_of(database, study)
        assert (down.state, down.reason, down.stored) == ("partial", "archive-unavailable", 0)
        assert down.attempts == 1
    finally:
        orthanc.start()
    while (await state_of(database, study)).state != "done":
        await asyncio.sleep(0.1)
        await jobs.run_waiting()
    assert (await state_of(database, study)).attempts == 2


async def test_wrong_credentials_are_not_tried_again(orthanc, pacs_of, imaging_with, jobs, database):
    patient = await add_patient(database, "refused-1")
    imaging = imaging_with(replace(pacs_of(orthanc), password="wrong"))
    with pytest.raises(PacsRefused):
        await imaging.discover(SITE, patient)
    await discover_by_job(database, jobs, patient)
    assert [job.name for job in await jobs.list_failed()] == ["dicomweb.discover"]


@pytest.mark.parametrize(
    ("mrn", "changes", "reason"),
    [
        ("dob-1", {"birth_date": date(1961, 12, 4)}, "birth-date-mismatch"),
        ("name-1", {"name": "Baker^Maria"}, "name-mismatch"),
    ],
)
async def test_a_study_of_someone_else_is_put_aside_and_nothing_of_it_becomes_visible(
    orthanc, imaging, database, mrn, changes, reason
):
    study = phantom(patient_id=mrn, slices=2, **changes)
    orthanc.store(instances(study))
    patient = await add_patient(database, mrn)
    await imaging.discover(SITE, patient)
    assert await imaging.pull(SITE, study.study_uid) == "quarantined"
    with pytest.raises(NotFound):
        await imaging_study_of(database, study)
    async with database.transaction(tester) as tx:
        waiting = await index.quarantine(tx.connection, study_uid=study.study_uid)
    assert [(one.site, one.reason, one.sop_uid) for one in waiting] == [(SITE, reason, "")]
    assert (await state_of(database, study)).stored == 0
    assert await imaging.discover(SITE, patient) == []


async def test_one_instance_of_someone_else_puts_the_whole_study_aside(orthanc, imaging, database):
    study = phantom(patient_id="mixed-1", slices=6)
    files = list(instances(study))
    files[4] = files[4].replace(b"19610412", b"19990101")
    orthanc.store(files)
    patient = await add_patient(database, "mixed-1")
    await imaging.discover(SITE, patient)
    assert await imaging.pull(SITE, study.study_uid) == "quarantined"
    assert (await state_of(database, study)).reason == "birth-date-mismatch"
    with pytest.raises(NotFound):
        await imaging_study_of(database, study)


async def test_a_person_can_release_a_quarantined_study(orthanc, imaging, database):
    study = phantom(patient_id="released-1", slices=2, name="Married^Maria")
    orthanc.store(instances(study))
    patient = await add_patient(database, "released-1")
    await imaging.discover(SITE, patient)
    assert await imaging.pull(SITE, study.study_uid) == "quarantined"
    async with database.transaction(tester) as tx:
        assert await index.release(tx.connection, SITE, study.study_uid, "Practitioner/coordinator")
    assert await imaging.pull(SITE, study.study_uid) == "done"
    assert (await imaging_study_of(database, study)).version == 1


async def test_a_study_that_grows_is_pulled_again(orthanc, imaging, jobs, database):
    study = phantom(patient_id="grows-1", slices=6)
    files = list(instances(study))
    orthanc.store(files[:5])
    patient = await add_patient(database, "grows-1")
    await discover_by_job(database, jobs, patient)
    assert (await imaging_study_of(database, study)).resource()["numberOfInstances"] == 5
    orthanc.store(files[5:])
    await discover_by_job(database, jobs, patient)
    grown = await imaging_study_of(database, study)
    assert (grown.version, grown.resource()["numberOfInstances"]) == (2, 8)


async def test_a_visible_study_that_turns_out_to_be_of_two_people_is_withdrawn(orthanc, imaging, database):
    study = phantom(patient_id="late-1", slices=4)
    files = list(instances(study))
    orthanc.store(files[:4])
    patient = await add_patient(database, "late-1")
    await imaging.discover(SITE, patient)
    await imaging.pull(SITE, study.study_uid)
    assert (await imaging_study_of(database, study)).version == 1
    orthanc.store([files[4].replace(b"19610412", b"19990101")])
    assert await imaging.discover(SITE, patient) == [study.study_uid]
    assert await imaging.pull(SITE, study.study_uid) == "quarantined"
    with pytest.raises(Gone):
        await imaging_study_of(database, study)
    async with database.transaction(tester) as tx:
        assert await index.candidates(tx.connection, study.study_uid) == []
        assert await index.release(tx.connection, SITE, study.study_uid, "Practitioner/coordinator")
    assert await imaging.pull(SITE, study.study_uid) == "done"
    assert (await imaging_study_of(database, study)).resource()["numberOfInstances"] == 5


async def test_a_patient_without_an_identifier_of_the_archive_finds_nothing(imaging, database):
    async with database.transaction(tester) as tx:
        result = await tx.writer.create({"resourceType": "Patient", "birthDate": "1961-04-12"})
    assert await imaging.discover(SITE, f"Patient/{result.stored.id}") == []


async def test_other_content_under_the_same_uid_is_put_aside_and_both_are_kept(pacs_of, orthanc, blobs):
    study = phantom(slices=2)
    file = list(instances(study))[2]
    patient = {"identifier": [{"system": MRN, "value": "00483921"}], "birthDate": "1961-04-12"}
    known = {(study.uid("axial"), study.uid("axial", 0)): None}
    intake = Intake(blobs, pacs_of(orthanc), study.study_uid, patient, known)

    async def take(content):
        staged = blobs.stage()
        staged.write(content)
        return await intake.take(staged)

    left_by_a_killed_worker = set(blobs.staging.iterdir())
    first = await take(file)
    assert await take(file) is None
    second = await take(file.replace(b"IOHEXOL 350 ", b"IOHEXOL 300 "))
    assert (second.reason, second.sop_uid) == ("content-conflict", first.sop_uid)
    assert first.sha256 != second.sha256
    for one in (first, second):
        assert [chunk async for chunk in blobs.chunks(one.sha256)]
    stranger = await take(list(instances(phantom(slices=2, salt="other")))[2])
    assert stranger.reason == "unexpected-instance"
    broken = await take(file[:-10])
    assert (broken.reason, broken.sop_uid) == ("truncated", "")
    assert set(blobs.staging.iterdir()) == left_by_a_killed_worker
