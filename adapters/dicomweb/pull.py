"""The durable pull of a study: find what should be there, fetch what is missing, verify by UID sets, publish.

Every instance is durable once its row is committed, so a crash or an archive that goes away costs what was on its
way; the next attempt asks only for what is missing. PS3.18 §10.4 and §10.6:
https://dicom.nema.org/medical/dicom/current/output/chtml/part18/chapter_10.html
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.dicomweb import dicomjson
from adapters.dicomweb.blobs import Blobs, StagedBlob
from adapters.dicomweb.client import DicomWebClient, Pacs, PacsError, PacsMissing, PacsRefused, PacsUnavailable
from adapters.dicomweb.identity import mismatch, patient_id
from adapters.dicomweb.ingest import IdentityMismatch, Intake, stage_parts
from adapters.dicomweb.part10 import is_uid
from fhir_server.jobs.app import Jobs
from fhir_server.jobs.retry import Backoff
from fhir_server.kernel import json
from fhir_server.kernel.errors import Unavailable
from fhir_server.kernel.subject import Subject
from fhir_server.store import imaging
from fhir_server.store.database import Database, Transaction
from fhir_server.store.imaging import Pull, Quarantined, StoredInstance
from mappings.dicom.conversions import Context
from mappings.dicom.imaging_study import MAX_LISTED_INSTANCES, SeriesHeaders, endpoint, endpoint_id, imaging_study

_log = logging.getLogger(__name__)
_study_uid, _series_uid, _sop_uid, _instances_in_study = "0020000D", "0020000E", "00080018", "00201208"
_in_flight = 8
_rounds = 3

DISCOVER, PULL = "dicomweb.discover", "dicomweb.pull"
SUBJECT = Subject.system("dicomweb", "system/Patient.r system/ImagingStudy.cruds system/Endpoint.crus")


class StudyIncomplete(PacsError, Unavailable):
    """503: the archive announced instances it did not give; they may come later."""


@dataclass(frozen=True, slots=True)
class Imaging:
    """Pulls studies from the sites' archives. ``base_url`` is where our own DICOMweb is, for the Endpoint."""

    database: Database
    blobs: Blobs
    archives: Mapping[str, Pacs]
    base_url: str
    jobs: Jobs
    connect: Callable[[Pacs], DicomWebClient] = DicomWebClient

    def register(self, retry: Backoff | None = None) -> None:
        """Let workers run ``dicomweb.discover`` {site, patient} and ``dicomweb.pull`` {site, study_uid}."""
        policy = retry or Backoff(attempts=20, first_s=2)

        async def discover(site: str, patient: str) -> None:
            await self.discover(site, patient)

        async def pull(site: str, study_uid: str) -> None:
            await self.pull(site, study_uid)

        self.jobs.register(DISCOVER, discover, policy)
        self.jobs.register(PULL, pull, policy)

    async def discover(self, site: str, patient: str) -> list[str]:
        """Ask the site's archive for the studies of ``patient`` (``Patient/id``); return those to be pulled now."""
        pacs = self._pacs(site)
        async with self.database.transaction(SUBJECT) as tx:
            resource = await _patient(tx, patient)
        known_as = patient_id(resource, pacs)
        if known_as is None:
            _log.warning("%s has no identifier of the archive of %s", patient, site)
            return []
        async with self.connect(pacs) as client:
            rows = await client.studies(known_as)
        wanted = []
        async with self.database.transaction(SUBJECT) as tx:
            for row in rows:
                uid = dicomjson.text(row, _study_uid)
                if is_uid(uid) and uid not in wanted and await self._worth_pulling(tx, site, uid, patient, row):
                    lock = f"dicomweb:{site}:{uid}"
                    arguments = {"site": site, "study_uid": uid}
                    await self.jobs.enqueue(tx.connection, PULL, arguments, lock, queueing_lock=lock)
                    wanted.append(uid)
        return wanted

    async def pull(self, site: str, study_uid: str) -> str:
        """Bring one study in; return the state it is in then. Raises PacsError."""
        pacs = self._pacs(site)
        async with self.database.transaction(SUBJECT) as tx:
            state = await imaging.pull(tx.connection, site, study_uid)
            if state is None:
                raise PacsRefused("Nobody asked for this study.")
            if state.state == "quarantined":
                return state.state
            patient = await _patient(tx, state.patient)
            await imaging.begin(tx.connection, site, study_uid)
        try:
            async with self.connect(pacs) as client:
                return await _PullOfStudy(self, client, pacs, state, patient).run()
        except IdentityMismatch as error:
            return await self._put_study_aside(state, error.reason)
        except PacsError as error:
            async with self.database.transaction(SUBJECT) as tx:
                await imaging.settle(tx.connection, site, study_uid, state="partial", reason=_reason(error))
                await imaging.note_error(tx.connection, site, study_uid, str(error))
            raise

    async def _worth_pulling(self, tx: Transaction, site: str, uid: str, patient: str, row: dict[str, Any]) -> bool:
        if await imaging.ask_for(tx.connection, site, uid, patient):
            return True
        state = await imaging.pull(tx.connection, site, uid)
        if state is None or state.patient != patient or state.state == "quarantined":
            return False
        announced = dicomjson.value(row, _instances_in_study, 0)
        return state.state != "done" or (isinstance(announced, int) and announced > state.expected)

    async def _put_study_aside(self, state: Pull, reason: str) -> str:
        """Quarantine the study; if it was visible because only later instances are someone else's, it is no more."""
        async with self.database.transaction(SUBJECT) as tx:
            await imaging.put_aside(tx.connection, Quarantined(state.site, state.study_uid, reason))
            await imaging.settle(tx.connection, state.site, state.study_uid, state="quarantined", reason=reason)
            if state.imaging_study:
                await tx.writer.delete("ImagingStudy", state.imaging_study)
        _log.warning("study %s of %s put aside: %s", state.study_uid, state.site, reason)
        return "quarantined"

    def _pacs(self, site: str) -> Pacs:
        try:
            return self.archives[site]
        except KeyError:
            raise PacsRefused(f"No archive is configured for site {site}.") from None


@dataclass(slots=True)
class _PullOfStudy:
    """One attempt at one study."""

    imaging: Imaging
    client: DicomWebClient
    pacs: Pacs
    state: Pull
    patient: dict[str, Any]
    intake: Intake = field(init=False)

    def __post_init__(self) -> None:
        released = bool(self.state.released_by)
        self.intake = Intake(self.imaging.blobs, self.pacs, self.state.study_uid, self.patient, {}, released)

    async def run(self) -> str:
        """Find, fetch and verify until the archive announces nothing new, then publish."""
        await self._check_study()
        for _ in range(_rounds):
            await self._find()
            missing = self._missing()
            if not missing:
                return await self._publish()
            for series_uid, sops in missing.items():
                await self._fetch(series_uid, sops)
        if any(self._missing().values()):
            raise StudyIncomplete("The archive did not give every instance it announced.")
        return await self._publish()

    async def _check_study(self) -> None:
        rows = await self.client.studies("", study_uid=self.state.study_uid)
        rows = [row for row in rows if dicomjson.text(row, _study_uid) == self.state.study_uid]
        if not rows:
            raise StudyIncomplete("The archive does not know the study at present.")
        for row in rows:  # an archive may hold one study UID under two patients
            reason = None if self.state.released_by else mismatch(row, self.patient, self.pacs)
            if reason is not None:
                raise IdentityMismatch(reason)

    async def _find(self) -> None:
        study, found = self.state.study_uid, []
        for series in await self.client.series(study):
            series_uid = dicomjson.text(series, _series_uid)
            if is_uid(series_uid):
                rows = await self.client.instances(study, series_uid)
                found += [(series_uid, sop) for row in rows if is_uid(sop := dicomjson.text(row, _sop_uid))]
        if not found:
            raise StudyIncomplete("The archive announces no instance of the study.")
        async with self.imaging.database.transaction(SUBJECT) as tx:
            await imaging.expect(tx.connection, self.state.site, study, found)
            self.intake.known = await imaging.known(tx.connection, self.state.site, study)

    def _missing(self) -> dict[str, list[str]]:
        missing = defaultdict(list)
        for (series_uid, sop_uid), sha256 in self.intake.known.items():
            if sha256 is None:
                missing[series_uid].append(sop_uid)
        return missing

    async def _fetch(self, series_uid: str, sops: list[str]) -> None:
        """Fetch the whole series when most of it is missing, else, and for what it left out, one by one."""
        total = sum(1 for series, _ in self.intake.known if series == series_uid)
        if len(sops) * 2 > total:
            await self._receive(series_uid, None)
        for sop_uid in sops:
            if self.intake.known[series_uid, sop_uid] is None:
                await self._receive(series_uid, sop_uid)

    async def _receive(self, series_uid: str, sop_uid: str | None) -> None:
        batch = _Batch(self)
        try:
            async with self.client.retrieve(self.state.study_uid, series_uid, sop_uid) as events:
                await batch.take_all(stage_parts(events, self.imaging.blobs))
        except PacsMissing:
            _log.info("study %s of %s: the archive has part of it no more", self.state.study_uid, self.state.site)
        finally:
            await batch.finish()

    async def _publish(self) -> str:
        site, study = self.state.site, self.state.study_uid
        async with self.imaging.database.transaction(SUBJECT) as tx:
            series = await _series_headers(tx, site, study, len(self.intake.known))
            resource = imaging_study(
                site,
                study,
                series,
                patient=self.state.patient,
                endpoint=f"Endpoint/{endpoint_id(self.imaging.base_url)}",
                context=Context(self.pacs.accession_system, self.pacs.zone),
            )
            await tx.writer.update(endpoint(self.imaging.base_url))
            await tx.writer.update(resource)
            await imaging.settle(tx.connection, site, study, state="done", imaging_study=resource["id"])
        return "done"


class _Batch:
    """A few instances at a time: read and kept side by side, committed together while the next ones arrive."""

    def __init__(self, pull: _PullOfStudy) -> None:
        self._pull = pull
        self._running: list[asyncio.Task[StoredInstance | Quarantined | None]] = []
        self._committing: asyncio.Task[None] | None = None

    async def take_all(self, parts: AsyncIterator[StagedBlob]) -> None:
        async for staged in parts:
            self._running.append(asyncio.create_task(self._pull.intake.take(staged)))
            if len(self._running) >= _in_flight:
                if self._committing is not None:
                    await self._committing
                running, self._running = self._running, []
                self._committing = asyncio.create_task(self._commit(running))

    async def finish(self) -> None:
        """Commit what is still under way, whatever went wrong before; then raise the first failure."""
        try:
            if self._committing is not None:
                await self._committing
        finally:
            await self._commit(self._running)

    async def _commit(self, running: list["asyncio.Task[StoredInstance | Quarantined | None]"]) -> None:
        outcomes = await asyncio.gather(*running, return_exceptions=True)
        stored = [one for one in outcomes if isinstance(one, StoredInstance)]
        aside = [one for one in outcomes if isinstance(one, Quarantined)]
        if stored or aside:
            async with self._pull.imaging.database.transaction(SUBJECT) as tx:
                await imaging.store(tx.connection, self._pull.state.site, stored)
                for one in aside:
                    await imaging.put_aside(tx.connection, one)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome


async def _patient(tx: Transaction, reference: str) -> dict[str, Any]:
    return (await tx.reader.read("Patient", reference.removeprefix("Patient/"))).resource()


async def _series_headers(tx: Transaction, site: str, study: str, total: int) -> list[SeriesHeaders]:
    if total > MAX_LISTED_INSTANCES:
        firsts = await imaging.first_of_each_series(tx.connection, site, study)
        return [SeriesHeaders([json.decode(header)], count) for header, count in firsts]
    by_series: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in await imaging.instances(tx.connection, site, study):
        by_series[one.series_uid].append(json.decode(one.header))
    return [SeriesHeaders(headers, len(headers)) for headers in by_series.values()]


def _reason(error: PacsError) -> str:
    if isinstance(error, PacsUnavailable):
        return "archive-unavailable"
    return "instances-missing" if isinstance(error, StudyIncomplete) else "archive-refused"
