"""The app's only way to data: HTTP requests to the FHIR API and DICOMweb, with the user's own token.

https://hl7.org/fhir/R4/http.html
"""

import asyncio
import re
from collections.abc import Iterable, Mapping
from typing import Any

import httpx

Resource = Mapping[str, Any]
_reference = re.compile(r"([A-Z][A-Za-z]{2,40})/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")
_MOST_PAGES = 10


class ApiRefused(Exception):
    """The API answered with an error; ``status`` is its HTTP status."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"the FHIR API answered {status}")


class NotSignedIn(ApiRefused):
    """401: the session's token is no longer valid."""


class FhirClient:
    """Reads for one page view, each resource once. ``http`` has the server's root as its base URL."""

    def __init__(self, http: httpx.AsyncClient, token: str) -> None:
        self._http = http
        self._headers = {"Authorization": f"Bearer {token}"}
        self._seen: dict[str, Resource | None] = {}

    async def get(self, path: str, *, accept: str, params: Iterable[tuple[str, str]] = ()) -> httpx.Response:
        """Return the response to a GET. Raises NotSignedIn or ApiRefused for anything but success."""
        return _checked(await self._http.get(path, params=list(params), headers={**self._headers, "Accept": accept}))

    async def post(self, path: str) -> httpx.Response:
        """Return the response to a POST without a body. Raises NotSignedIn or ApiRefused for anything but success."""
        return _checked(await self._http.post(path, headers=self._headers))

    async def read(self, reference: str) -> Resource | None:
        """Return the resource at ``Type/id``; None when it is absent, hidden, or not of this server."""
        found = _reference.fullmatch(reference)
        if not found:
            return None
        key = f"{found[1]}/{found[2]}"
        if key not in self._seen:
            self._seen[key] = await self._json_or_none(f"/fhir/{key}")
        return self._seen[key]

    async def read_all(self, references: Iterable[str]) -> dict[str, Resource]:
        """Return those of ``references`` that can be read, by reference."""
        wanted = list(dict.fromkeys(reference for reference in references if reference))
        found = await asyncio.gather(*(self.read(reference) for reference in wanted))
        return {reference: item for reference, item in zip(wanted, found, strict=True) if item is not None}

    async def search(self, resource_type: str, *params: tuple[str, str]) -> list[Resource]:
        """Return every match; an empty list when the token may not search this type."""
        try:
            pages = await self._pages(f"/fhir/{resource_type}", [*params, ("_count", "100")])
        except NotSignedIn:
            raise
        except ApiRefused as refused:
            if refused.status == httpx.codes.FORBIDDEN:
                return []
            raise
        return [entry["resource"] for page in pages for entry in page.get("entry", ()) if _is_match(entry)]

    async def history(self, reference: str) -> list[Resource]:
        """Return the versions of a resource, oldest first."""
        try:
            pages = await self._pages(f"/fhir/{reference}/_history", [("_count", "100")])
        except NotSignedIn:
            raise
        except ApiRefused:
            return []
        versions = [entry["resource"] for page in pages for entry in page.get("entry", ()) if "resource" in entry]
        return versions[::-1]

    async def _json_or_none(self, path: str) -> Resource | None:
        try:
            return _object(await self.get(path, accept="application/fhir+json"))
        except NotSignedIn:
            raise
        except ApiRefused as refused:
            if refused.status in (httpx.codes.NOT_FOUND, httpx.codes.GONE, httpx.codes.FORBIDDEN):
                return None
            raise

    async def _pages(self, path: str, params: list[tuple[str, str]]) -> list[Resource]:
        pages: list[Resource] = []
        url, pairs = path, params
        while url and len(pages) < _MOST_PAGES:
            pages.append(_object(await self.get(url, accept="application/fhir+json", params=pairs)))
            following = (link["url"] for link in pages[-1].get("link", ()) if link.get("relation") == "next")
            url, pairs = self._local(next(following, "")), []
        return pages

    def _local(self, url: str) -> str:
        """The path of a link of our own API; empty for a foreign host, which must never see the token."""
        if not url:
            return ""
        _, found, rest = url.partition("/fhir/")
        return f"/fhir/{rest}" if found else ""


def _checked(response: httpx.Response) -> httpx.Response:
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise NotSignedIn(response.status_code)
    if not response.is_success:
        raise ApiRefused(response.status_code)
    return response


def _object(response: httpx.Response) -> Resource:
    body = response.json()
    if not isinstance(body, dict):
        raise ApiRefused(httpx.codes.BAD_GATEWAY)
    return body


def _is_match(entry: Mapping[str, Any]) -> bool:
    return "resource" in entry and entry.get("search", {}).get("mode", "match") == "match"
