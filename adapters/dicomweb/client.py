"""The DICOMweb client: QIDO-RS on three levels and WADO-RS as a stream, every failure told apart by what to do next.

PS3.18 §10.6 (search) and §10.4 (retrieve):
https://dicom.nema.org/medical/dicom/current/output/chtml/part18/sect_10.6.html
"""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from adapters.dicomweb.multipart import Event, MalformedMultipart, read_multipart
from fhir_server.kernel import json
from fhir_server.kernel.errors import FhirError, InvalidRequest, NotFound, Unavailable, Unprocessable

_page = 500
_max_pages = 200
_max_json_bytes = 64 * 1024 * 1024
_study_fields = "00080005,00080050,00080061,00081030,00100010,00100020,00100021,00100030,00100040,00201206,00201208"
_accept_instances = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_retry_statuses = frozenset({408, 425, 429, 500, 502, 503, 504})

Dataset = dict[str, Any]


class PacsError(FhirError):
    """The archive did not give what was asked for; the kind says whether asking again later can help."""


class PacsUnavailable(PacsError, Unavailable):
    """503: the archive is down, overloaded, or broke off in the middle. Asking again is right."""


class PacsMissing(PacsError, NotFound):
    """404: the archive does not have it, at present."""


class PacsRefused(PacsError, Unprocessable):
    """422: the archive says we may not, or our request is wrong: someone must look, asking again is no use."""


@dataclass(frozen=True, slots=True)
class Pacs:
    """One hospital archive, from the site's configuration.

    ``patient_id_system`` is the identifier system of its PatientID, ``issuer`` the IssuerOfPatientID it writes, if any;
    ``zone`` the time zone of its dates.
    """

    site: str
    url: str
    patient_id_system: str
    accession_system: str
    issuer: str | None = None
    zone: str = "UTC"
    user: str | None = None
    password: str | None = None
    headers: Mapping[str, str] | None = None
    timeout_s: float = 30
    verify: bool | ssl.SSLContext = True

    @property
    def auth(self) -> tuple[str, str] | None:
        """HTTP Basic credentials, or None."""
        return (self.user, self.password) if self.user and self.password else None


class DicomWebClient:
    """Requests to one archive over one connection pool. Use as an asynchronous context manager."""

    def __init__(self, pacs: Pacs, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._http = httpx.AsyncClient(
            base_url=pacs.url.rstrip("/") + "/",
            auth=pacs.auth,
            headers={"Accept-Encoding": "identity", **(pacs.headers or {})},  # nothing inflated: no bombs
            timeout=httpx.Timeout(pacs.timeout_s, connect=min(5, pacs.timeout_s)),
            verify=pacs.verify,
            trust_env=False,
            follow_redirects=False,
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def studies(self, patient_id: str, *, study_uid: str | None = None) -> list[Dataset]:
        """Return the studies of a PatientID, only ``study_uid`` if given."""
        match = {"PatientID": patient_id} if study_uid is None else {"StudyInstanceUID": study_uid}
        return await self._search("studies", {**match, "includefield": _study_fields})

    async def series(self, study_uid: str) -> list[Dataset]:
        """Return the series of a study."""
        return await self._search(f"studies/{quote(study_uid)}/series", {})

    async def instances(self, study_uid: str, series_uid: str) -> list[Dataset]:
        """Return the instances of a series."""
        return await self._search(f"studies/{quote(study_uid)}/series/{quote(series_uid)}/instances", {})

    @asynccontextmanager
    async def retrieve(
        self, study_uid: str, series_uid: str, sop_uid: str | None = None
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """Open a series, or one instance of it, as a stream of multipart events."""
        path = f"studies/{quote(study_uid)}/series/{quote(series_uid)}"
        if sop_uid is not None:
            path += f"/instances/{quote(sop_uid)}"
        try:
            async with self._http.stream("GET", path, headers={"Accept": _accept_instances}) as answer:
                _check(answer.status_code)
                yield read_multipart(answer.aiter_raw(), answer.headers.get("content-type", ""))
        except httpx.TransportError as error:
            raise PacsUnavailable(f"The archive broke off: {type(error).__name__}.") from error
        except MalformedMultipart as error:
            raise PacsUnavailable(str(error)) from error

    async def _search(self, path: str, match: dict[str, str]) -> list[Dataset]:
        """Page through a search; a server that ignores ``offset`` is noticed by its repeating itself."""
        found: list[Dataset] = []
        seen: set[bytes] = set()
        for page in range(_max_pages):
            rows = await self._get_json(path, {**match, "limit": str(_page), "offset": str(page * _page)})
            fresh = {json.encode(row): row for row in rows}
            fresh = {key: row for key, row in fresh.items() if key not in seen}
            seen.update(fresh)
            found += fresh.values()
            if len(rows) < _page or not fresh:
                return found
        raise PacsRefused("The archive's answer never ends.")

    async def _get_json(self, path: str, query: dict[str, str]) -> list[Dataset]:
        body = bytearray()
        try:
            async with self._http.stream(
                "GET", path, params=query, headers={"Accept": "application/dicom+json"}
            ) as answer:
                if answer.status_code == httpx.codes.NO_CONTENT:
                    return []
                _check(answer.status_code)
                async for chunk in answer.aiter_raw():
                    body += chunk
                    if len(body) > _max_json_bytes:
                        raise PacsRefused("The archive's answer is too large.")
        except httpx.TransportError as error:
            raise PacsUnavailable(f"The archive cannot be reached: {type(error).__name__}.") from error
        return _rows(bytes(body))


def _check(status: int) -> None:
    if status in (httpx.codes.NOT_FOUND, httpx.codes.GONE):
        raise PacsMissing(f"The archive answered {status}.")
    if status in _retry_statuses:
        raise PacsUnavailable(f"The archive answered {status}.")
    if not httpx.codes.is_success(status):
        raise PacsRefused(f"The archive answered {status}; check its address and our credentials.")


def _rows(body: bytes) -> list[Dataset]:
    try:
        rows = json.decode(body) if body.strip() else []
    except InvalidRequest as error:
        raise PacsUnavailable("The archive's answer is not JSON.") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise PacsRefused("The archive's answer is not a list of DICOM JSON objects.")
    return rows
