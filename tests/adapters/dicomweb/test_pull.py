import hashlib

import pytest

from fhir_server.kernel.errors import NotFound
from fhir_server.kernel.subject import Subject
from fhir_server.store import imaging as index
from mappings.dicom.imaging_study import imaging_study_id

tester = Subject.system("test", "system/*.cruds")


async def bring_in(imaging, jobs, patient, site="LAKESIDE"):
    await imaging.discover(site, patient)
    while jobs:
        name, args = jobs.pop(0)
        assert name == "dicomweb.pull"
        yield await imaging.pull(**args)


async def test_a_discovered_study_arrives_byte_for_byte_and_becomes_an_imaging_study(
    orthanc, imaging, jobs, patient, study, files, database, blobs
):
    orthanc.store(files)
    assert [state async for state in bring_in(imaging, jobs, patient)] == ["done"]
    async with database.transaction(tester) as tx:
        stored = await index.instances(tx.connection, "LAKESIDE", study.study_uid)
        resource = (await tx.reader.read("ImagingStudy", imaging_study_id("LAKESIDE", study.study_uid))).resource()
    assert {one.sha256 for one in stored} == {hashlib.sha256(file).hexdigest() for file in files}
    kept = [b"".join([chunk async for chunk in blobs.chunks(one.sha256)]) for one in stored]
    assert sorted(kept) == sorted(files)
    assert resource["numberOfSeries"] == 2
    assert resource["numberOfInstances"] == len(files) == 14
    assert resource["subject"] == {"reference": patient}
    assert resource["started"] == "2026-03-02T09:14:07-05:00"
