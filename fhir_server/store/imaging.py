"""State of pulled studies in SQL: what is expected, what is stored, what was put aside.

Resources (ImagingStudy) are not written here but through the writer; these rows say where the bytes are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Pull:
    """One study of one site: how far it came."""

    site: str
    study_uid: str
    patient: str
    state: str
    reason: str
    imaging_study: str
    attempts: int
    last_error: str
    released_by: str
    expected: int
    stored: int


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """One stored instance: where its bytes are and what its header says (DICOM JSON text)."""

    study_uid: str
    series_uid: str
    sop_uid: str
    sha256: str
    size: int
    sop_class: str
    transfer_syntax: str
    number: int
    pixel_offset: int | None
    frames: str
    header: str


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Something put aside for a person; ``series_uid`` and ``sop_uid`` are empty for a whole study."""

    site: str
    study_uid: str
    reason: str
    series_uid: str = ""
    sop_uid: str = ""
    detail: str = ""
    sha256: str = ""


_pull_columns = """
SELECT p.site, p.study_uid, p.patient, p.state, p.reason, p.imaging_study, p.attempts, p.last_error, p.released_by,
  (SELECT count(*) FROM fhir.imaging_instance i WHERE i.site = p.site AND i.study_uid = p.study_uid) AS expected,
  (SELECT count(i.sha256) FROM fhir.imaging_instance i WHERE i.site = p.site AND i.study_uid = p.study_uid) AS stored
FROM fhir.imaging_pull p
"""
_instance_columns = """
SELECT i.study_uid, i.series_uid, i.sop_uid, i.sha256, i.size, i.sop_class, i.transfer_syntax, i.number,
  i.pixel_offset, {frames} AS frames, {header} AS header
FROM fhir.imaging_instance i
"""
_with_headers = _instance_columns.format(frames="i.frames", header="i.header")
_without_headers = _instance_columns.format(frames="''", header="''")


async def ask_for(connection: Connection, site: str, study_uid: str, patient: str) -> bool:
    """Note that a study is wanted; True when it was not known before."""
    cursor = await connection.execute(
        "INSERT INTO fhir.imaging_pull (site, study_uid, patient) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        (site, study_uid, patient),
    )
    return cursor.rowcount == 1


async def pull(connection: Connection, site: str, study_uid: str) -> Pull | None:
    """Return the state of one study."""
    async with connection.cursor(row_factory=class_row(Pull)) as cursor:
        await cursor.execute(_pull_columns + "WHERE p.site = %s AND p.study_uid = %s", (site, study_uid))
        return await cursor.fetchone()


async def pulls(connection: Connection, *, site: str | None = None, patient: str | None = None) -> list[Pull]:
    """Return the state of every study, newest first, of one site or patient if given."""
    async with connection.cursor(row_factory=class_row(Pull)) as cursor:
        await cursor.execute(
            _pull_columns
            + "WHERE (%(site)s::text IS NULL OR p.site = %(site)s) AND (%(patient)s::text IS NULL OR p.patient = "
            "%(patient)s) ORDER BY p.created_at DESC LIMIT 1000",
            {"site": site, "patient": patient},
        )
        return await cursor.fetchall()


async def begin(connection: Connection, site: str, study_uid: str) -> None:
    """Count an attempt."""
    await connection.execute(
        "UPDATE fhir.imaging_pull SET state = 'fetching', reason = '', last_error = '', attempts = attempts + 1, "
        "updated_at = now() WHERE site = %s AND study_uid = %s",
        (site, study_uid),
    )


async def settle(
    connection: Connection, site: str, study_uid: str, *, state: str, reason: str = "", imaging_study: str = ""
) -> None:
    """Set the outcome of an attempt; ``imaging_study`` stays as it was when empty."""
    await connection.execute(
        "UPDATE fhir.imaging_pull SET state = %s, reason = %s, "
        "imaging_study = COALESCE(NULLIF(%s, ''), imaging_study), updated_at = now() "
        "WHERE site = %s AND study_uid = %s",
        (state, reason, imaging_study, site, study_uid),
    )


async def note_error(connection: Connection, site: str, study_uid: str, error: str) -> None:
    """Leave what went wrong where an operator sees it."""
    await connection.execute(
        "UPDATE fhir.imaging_pull SET last_error = %s, updated_at = now() WHERE site = %s AND study_uid = %s",
        (error[:500], site, study_uid),
    )


async def expect(connection: Connection, site: str, study_uid: str, instances: Iterable[tuple[str, str]]) -> None:
    """Note the (series, SOP) UIDs the archive says the study has; forget those it no longer has and never gave."""
    series, sops = [], []
    for series_uid, sop_uid in instances:
        series.append(series_uid)
        sops.append(sop_uid)
    await connection.execute(
        "INSERT INTO fhir.imaging_instance (site, study_uid, series_uid, sop_uid) "
        "SELECT %s, %s, series, sop FROM unnest(%s::text[], %s::text[]) AS found(series, sop) ON CONFLICT DO NOTHING",
        (site, study_uid, series, sops),
    )
    await connection.execute(
        "DELETE FROM fhir.imaging_instance i WHERE site = %s AND study_uid = %s AND sha256 IS NULL AND NOT EXISTS "
        "(SELECT FROM unnest(%s::text[], %s::text[]) AS found(series, sop) "
        "WHERE series = i.series_uid AND sop = i.sop_uid)",
        (site, study_uid, series, sops),
    )


async def known(connection: Connection, site: str, study_uid: str) -> dict[tuple[str, str], str | None]:
    """Return every (series, SOP) UID of the study with its SHA-256, None while it is missing."""
    cursor = await connection.execute(
        "SELECT series_uid, sop_uid, sha256 FROM fhir.imaging_instance WHERE site = %s AND study_uid = %s",
        (site, study_uid),
    )
    return {(series, sop): digest for series, sop, digest in await cursor.fetchall()}


async def store(connection: Connection, site: str, instances: Sequence[StoredInstance]) -> None:
    """Fill expected rows with what arrived. Bytes once stored are never replaced."""
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "UPDATE fhir.imaging_instance SET sha256 = %s, size = %s, sop_class = %s, transfer_syntax = %s, "
            "number = %s, pixel_offset = %s, frames = %s, header = %s, stored_at = now() "
            "WHERE site = %s AND study_uid = %s AND series_uid = %s AND sop_uid = %s AND sha256 IS NULL",
            [
                (
                    *(one.sha256, one.size, one.sop_class, one.transfer_syntax, one.number, one.pixel_offset),
                    *(one.frames, one.header, site, one.study_uid, one.series_uid, one.sop_uid),
                )
                for one in instances
            ],
        )


async def put_aside(connection: Connection, item: Quarantined) -> None:
    """Add to the quarantine; the same thing twice is one row."""
    await connection.execute(
        "INSERT INTO fhir.imaging_quarantine (site, study_uid, series_uid, sop_uid, reason, detail, sha256) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (item.site, item.study_uid, item.series_uid, item.sop_uid, item.reason, item.detail, item.sha256),
    )


async def quarantine(connection: Connection, *, study_uid: str | None = None) -> list[Quarantined]:
    """Return what waits for a person's decision."""
    async with connection.cursor(row_factory=class_row(Quarantined)) as cursor:
        await cursor.execute(
            "SELECT site, study_uid, reason, series_uid, sop_uid, detail, sha256 FROM fhir.imaging_quarantine "
            "WHERE resolved_at IS NULL AND (%(study)s::text IS NULL OR study_uid = %(study)s) ORDER BY id",
            {"study": study_uid},
        )
        return await cursor.fetchall()


async def release(connection: Connection, site: str, study_uid: str, by: str) -> bool:
    """Accept a quarantined study as this patient's, on the word of ``by``; True when there was one to release."""
    await connection.execute(
        "UPDATE fhir.imaging_quarantine SET resolved_at = now(), resolved_by = %s "
        "WHERE site = %s AND study_uid = %s AND sop_uid = '' AND resolved_at IS NULL",
        (by, site, study_uid),
    )
    cursor = await connection.execute(
        "UPDATE fhir.imaging_pull SET released_by = %s, state = 'waiting', reason = '', updated_at = now() "
        "WHERE site = %s AND study_uid = %s AND state = 'quarantined'",
        (by, site, study_uid),
    )
    return cursor.rowcount == 1


async def candidates(connection: Connection, study_uid: str) -> list[tuple[str, str]]:
    """Return (site, ImagingStudy id) of every complete copy of a study; access is decided on the ImagingStudy."""
    cursor = await connection.execute(
        "SELECT site, imaging_study FROM fhir.imaging_pull "
        "WHERE study_uid = %s AND imaging_study <> '' AND state <> 'quarantined' ORDER BY created_at, site",
        (study_uid,),
    )
    return [(site, imaging_study) for site, imaging_study in await cursor.fetchall()]


async def instances(
    connection: Connection,
    site: str,
    study_uid: str,
    series_uid: str | None = None,
    sop_uid: str | None = None,
    *,
    headers: bool = True,
) -> list[StoredInstance]:
    """Return stored instances in series and InstanceNumber order, without ``header`` and ``frames`` if not needed."""
    async with connection.cursor(row_factory=class_row(StoredInstance)) as cursor:
        await cursor.execute(
            (_with_headers if headers else _without_headers)
            + "WHERE i.site = %(site)s AND i.study_uid = %(study)s AND i.sha256 IS NOT NULL "
            "AND (%(series)s::text IS NULL OR i.series_uid = %(series)s) "
            "AND (%(sop)s::text IS NULL OR i.sop_uid = %(sop)s) ORDER BY i.series_uid, i.number, i.sop_uid",
            {"site": site, "study": study_uid, "series": series_uid, "sop": sop_uid},
        )
        return await cursor.fetchall()


async def first_of_each_series(connection: Connection, site: str, study_uid: str) -> list[tuple[str, int]]:
    """Return, for each series, the header of its first instance and how many instances are stored."""
    cursor = await connection.execute(
        "SELECT DISTINCT ON (series_uid) header, count(*) OVER (PARTITION BY series_uid) FROM fhir.imaging_instance "
        "WHERE site = %s AND study_uid = %s AND sha256 IS NOT NULL ORDER BY series_uid, number, sop_uid",
        (site, study_uid),
    )
    return [(header, count) for header, count in await cursor.fetchall()]


async def study_headers(connection: Connection, imaging_studies: Sequence[str]) -> dict[str, tuple[str, int, int]]:
    """Return, for each ImagingStudy id, the header of one instance and the numbers of series and instances."""
    cursor = await connection.execute(
        "SELECT p.imaging_study, min(i.header), count(DISTINCT i.series_uid), count(*) FROM fhir.imaging_pull p "
        "JOIN fhir.imaging_instance i USING (site, study_uid) "
        "WHERE p.imaging_study = ANY(%s) AND i.sha256 IS NOT NULL GROUP BY p.imaging_study",
        (list(imaging_studies),),
    )
    return {study: (header, series, count) for study, header, series, count in await cursor.fetchall()}
