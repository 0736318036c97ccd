"""Bundle.entry as a request: method, address, conditions and body, checked before anything is done.

https://hl7.org/fhir/R4/http.html#transaction and https://hl7.org/fhir/R4/bundle-definitions.html#Bundle.entry.request
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from fhir_server.definitions import RESOURCE_TYPES
from fhir_server.interactions.bundles.addresses import parse_query
from fhir_server.kernel.errors import FhirError, InvalidRequest

_methods = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_with_body = frozenset({"POST", "PUT", "PATCH"})


@dataclass(slots=True)
class Entry:
    """One request of a Bundle. ``segments`` are the address's parts, ``pairs`` its query."""

    index: int
    method: str
    segments: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    full_url: str | None
    resource: dict[str, Any] | None
    if_match: str | None
    if_none_exist: str | None
    if_none_match: str | None

    @property
    def place(self) -> str:
        """Where the entry stands: ``Bundle.entry[3]``."""
        return f"Bundle.entry[{self.index}]"

    @property
    def resource_type(self) -> str:
        """The type in the address."""
        return self.segments[0]

    @property
    def id(self) -> str | None:
        """The id in the address, None for a type-level address."""
        return self.segments[1] if len(self.segments) > 1 else None

    @property
    def operation(self) -> str | None:
        """The operation that the address ends with, as ``$name``; None when it names no operation."""
        return self.segments[-1] if self.segments[-1].startswith("$") else None

    def body(self) -> dict[str, Any]:
        """Return the resource. Raises InvalidRequest when the entry has none."""
        if self.resource is None:
            raise InvalidRequest(f"A {self.method} entry needs a resource.", expression=f"{self.place}.resource")
        return self.resource


def parse_entries(bundle: dict[str, Any]) -> list[Entry]:
    """Return the requests of a transaction or batch. Raises InvalidRequest naming the first bad entry."""
    return [parse_entry(index, value) for index, value in enumerate(raw_entries(bundle))]


def raw_entries(bundle: dict[str, Any]) -> list[Any]:
    """Return ``Bundle.entry``. Raises InvalidRequest unless it is a list, or absent."""
    entries = bundle.get("entry", [])
    if not isinstance(entries, list):
        raise InvalidRequest("Bundle.entry must be a list.", expression="Bundle.entry")
    return entries


def parse_entry(index: int, value: Any) -> Entry:
    """Return the request in one ``Bundle.entry``. Raises InvalidRequest."""
    place = f"Bundle.entry[{index}]"
    request = value.get("request") if isinstance(value, dict) else None
    if not isinstance(request, dict):
        raise InvalidRequest("Every entry of a transaction or batch needs a request.", expression=place)
    method = _text(request, "method", place)
    if method not in _methods:
        raise InvalidRequest(f"request.method must be one of {', '.join(sorted(_methods))}.", expression=place)
    segments, pairs = _parse_url(_text(request, "url", place) or "", place)
    resource = value.get("resource")
    if resource is not None and not (isinstance(resource, dict) and isinstance(resource.get("resourceType"), str)):
        raise InvalidRequest("The entry's resource has no resourceType.", expression=f"{place}.resource")
    entry = Entry(
        index,
        method or "",
        segments,
        pairs,
        _text(value, "fullUrl", place, parent=""),
        resource,
        _text(request, "ifMatch", place),
        _text(request, "ifNoneExist", place),
        _text(request, "ifNoneMatch", place),
    )
    if method in _with_body:
        entry.body()
    return entry


@contextmanager
def located(entry: Entry) -> Iterator[None]:
    """Make every FhirError raised inside point into the entry: ``Patient.name`` → ``Bundle.entry[3].resource.name``."""
    try:
        yield
    except FhirError as error:
        error.issues = tuple(replace(issue, expression=_relocated(issue.expression, entry)) for issue in error.issues)
        raise


def _relocated(expression: str | None, entry: Entry) -> str:
    if not expression:
        return entry.place
    if expression.startswith("Bundle.entry["):
        return expression
    head, _, rest = expression.partition(".")
    if not head[:1].isupper():
        return f"{entry.place}.resource.{expression}"
    return f"{entry.place}.resource.{rest}" if rest else f"{entry.place}.resource"


def _text(holder: dict[str, Any], name: str, place: str, parent: str = ".request") -> str | None:
    value = holder.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"{name} must be a string.", expression=f"{place}{parent}.{name}")
    return value


def _parse_url(url: str, place: str) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    path, _, query = url.partition("?")
    segments = tuple(path.strip("/").split("/"))
    if segments[0] not in RESOURCE_TYPES:
        hint = "Give it relative to the FHIR base, e.g. Patient/1 or Observation?code=1234-5."
        raise InvalidRequest(f"request.url names no FHIR R4 resource type. {hint}", expression=f"{place}.request.url")
    try:
        return segments, tuple(parse_query(query))
    except InvalidRequest as error:
        raise InvalidRequest(str(error), expression=f"{place}.request.url") from error
