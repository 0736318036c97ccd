"""Addresses in bundles and answers: relative URLs in, ETags, Locations, instants and page links out.

https://hl7.org/fhir/R4/http.html#versioning and https://hl7.org/fhir/R4/bundle.html#3.36.2
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlencode

from fhir_server.kernel.errors import InvalidRequest
from fhir_server.store.records import Stored


def parse_query(text: str) -> list[tuple[str, str]]:
    """Return the name-value pairs of a query string, order and repetitions kept. Raises InvalidRequest."""
    try:
        return parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=1000)
    except ValueError as error:
        raise InvalidRequest("The query must be name=value pairs joined by '&', percent-encoded as UTF-8.") from error


def etag(stored: Stored) -> str:
    """Return the weak ETag of a version: ``W/"3"``."""
    return f'W/"{stored.version}"'


def location(stored: Stored) -> str:
    """Return the version's address relative to the FHIR base: ``Patient/1/_history/3``."""
    return f"{stored.resource_type}/{stored.id}/_history/{stored.version}"


def instant(moment: datetime) -> str:
    """Return ``moment`` as a FHIR instant in UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def link(relation: str, base_url: str, path: str, pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return one ``Bundle.link``."""
    query = urlencode(list(pairs), safe="|,:/$", encoding="utf-8")
    return {"relation": relation, "url": f"{base_url}/{path}?{query}" if query else f"{base_url}/{path}"}
