"""A FHIR client of one user: plain HTTP with a bearer token, as any other system would call Konsil."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx

JSON = "application/fhir+json"


class Api:
    """One user's view of Konsil's FHIR API."""

    def __init__(self, base_url: str, token: str) -> None:
        """Remember the FHIR base and the token."""
        headers = {"Authorization": f"Bearer {token}", "Accept": JSON}
        self._client = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=60)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def get(self, path: str) -> dict[str, Any]:
        """Return the resource or Bundle at ``path``. Raises httpx.HTTPStatusError for anything but success."""
        answer = await self._client.get(path)
        answer.raise_for_status()
        return dict(answer.json())

    async def status(self, path: str) -> int:
        """Return the status of a GET."""
        return (await self._client.get(path)).status_code

    async def raw(self, path: str, accept: str = JSON) -> httpx.Response:
        """Return the whole answer to a GET."""
        return await self._client.get(path, headers={"Accept": accept})

    async def search(self, path: str) -> list[dict[str, Any]]:
        """Return the matches of a search, in order."""
        bundle = await self.get(path)
        return [
            entry["resource"] for entry in bundle.get("entry", []) if entry.get("search", {}).get("mode") != "include"
        ]

    async def post(self, path: str, resource: dict[str, Any]) -> httpx.Response:
        """POST a resource and return the answer, whatever its status."""
        return await self._client.post(path, json=resource, headers={"Content-Type": JSON})

    async def put(self, resource: dict[str, Any]) -> httpx.Response:
        """PUT a resource under its id, with If-Match on the version it carries."""
        version = resource.get("meta", {}).get("versionId")
        headers = {"Content-Type": JSON} | ({"If-Match": f'W/"{version}"'} if version else {})
        return await self._client.put(f"/{resource['resourceType']}/{resource['id']}", json=resource, headers=headers)

    async def wait(
        self, path: str, until: Callable[[list[dict[str, Any]]], object], *, timeout_s: float = 30
    ) -> list[dict[str, Any]]:
        """Repeat a search until ``until`` holds for its matches or the time is over; return the last matches."""
        end = time.monotonic() + timeout_s
        while True:
            found = await self.search(path)
            if until(found) or time.monotonic() > end:
                return found
            await asyncio.sleep(0.1)
