"""What the client wants and what it sent: Accept, _format, _pretty, Content-Type, Prefer.

https://hl7.org/fhir/R4/http.html#mime-type and https://hl7.org/fhir/R4/http.html#ops
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from fhir_server.kernel.errors import InvalidRequest, NotAcceptable, UnsupportedMediaType

MEDIA_TYPE = "application/fhir+json"
CONTENT_TYPE = "application/fhir+json; charset=utf-8"
XML_CONTENT_TYPE = "application/fhir+xml; charset=utf-8"

Format = Literal["json", "xml"]
_formats: dict[str, Format] = {
    "application/fhir+json": "json",
    "application/json": "json",
    "text/json": "json",
    "json": "json",
    "*/*": "json",
    "application/*": "json",
    "text/*": "json",
    "application/fhir+xml": "xml",
    "application/xml": "xml",
    "text/xml": "xml",
    "xml": "xml",
}
_bodies: dict[str, Format] = {
    name: _formats[name]
    for name in ("application/fhir+json", "application/json", "application/fhir+xml", "application/xml", "text/xml")
}
_our_versions = frozenset({"4.0", "4.0.1"})
_utf8 = frozenset({"utf-8", "utf8", "us-ascii"})

Return = Literal["minimal", "representation", "OperationOutcome"]
_returns: dict[str, Return] = {
    "minimal": "minimal",
    "representation": "representation",
    "OperationOutcome": "OperationOutcome",
}


@dataclass(frozen=True, slots=True)
class Preference:
    """The Prefer header: what a write answers with, and whether a search may leave out what it does not know."""

    returns: Return = "representation"
    lenient: bool = False


@lru_cache(maxsize=256)
def negotiate(accept: str | None, format: str | None) -> Format:
    """Return the format of the answer; ``_format`` in the URL overrides the header. JSON wins a tie.

    Raises NotAcceptable unless the client takes FHIR JSON or XML of R4.
    """
    if format is not None:
        wanted = _formats.get(format.partition(";")[0].strip().replace(" ", "+").lower())
        if wanted is None:
            raise NotAcceptable("_format must be json, xml, application/fhir+json or application/fhir+xml.")
        return wanted
    if accept is None or not accept.strip():
        return "json"
    offers = list(_offers(accept))
    if not offers:
        raise NotAcceptable(f"This server answers in {MEDIA_TYPE} and application/fhir+xml: name one in Accept.")
    return max(offers, key=lambda offer: (offer[0], offer[1] == "json"))[1]


def _offers(accept: str) -> Iterator[tuple[float, Format]]:
    """Yield weight and format of each range in an Accept header that this server can answer."""
    for part in accept.split(","):
        media_type, *parameters = (piece.strip() for piece in part.split(";"))
        given = dict(parameter.partition("=")[::2] for parameter in parameters)
        weight = _weight(given.get("q", "1"))
        found = _formats.get(media_type.lower())
        if found and weight and given.get("fhirVersion", "4.0").strip('"') in _our_versions:
            yield weight, found


def _weight(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0


def names_fhir(header: str | None) -> bool:
    """Tell whether an Accept or Content-Type header names a FHIR format in so many words (``*/*`` does not)."""
    return any(part.partition(";")[0].strip().lower() in _bodies for part in (header or "").split(","))


@lru_cache(maxsize=256)
def body_format(content_type: str | None) -> Format:
    """Return the format of a body. Raises UnsupportedMediaType unless it is FHIR JSON or XML of R4, in UTF-8."""
    media_type, parameters = _media_type(content_type)
    found = _bodies.get(media_type)
    if found is None:
        raise UnsupportedMediaType(f"Send the body as {MEDIA_TYPE} or application/fhir+xml and say so in Content-Type.")
    if parameters.get("fhirversion", "4.0") not in _our_versions:
        raise UnsupportedMediaType("This server speaks FHIR R4: fhirVersion must be 4.0.")
    return found


@lru_cache(maxsize=256)
def check_content_type(content_type: str | None, *more: str) -> str:
    """Return the media type. Raises UnsupportedMediaType unless it is one of ``more``, or without any, a FHIR body."""
    if not more:
        body_format(content_type)
    media_type, _ = _media_type(content_type)
    if more and media_type not in more:
        raise UnsupportedMediaType(f"Send the body as {' or '.join(more)} and say so in Content-Type.")
    return media_type


def _media_type(content_type: str | None) -> tuple[str, dict[str, str]]:
    media_type, *parameters = (piece.strip().lower() for piece in (content_type or "").split(";"))
    given = {name: value.strip('"') for name, _, value in (parameter.partition("=") for parameter in parameters)}
    if given.get("charset", "utf-8") not in _utf8:
        raise UnsupportedMediaType("FHIR is UTF-8, always.")
    return media_type, given


@lru_cache(maxsize=256)
def parse_prefer(header: str | None) -> Preference:
    """Return the preference in a Prefer header (RFC 7240). Words of other standards are passed over."""
    wanted = dict(part.strip().partition("=")[::2] for part in (header or "").replace(";", ",").split(","))
    returns = _returns.get(wanted.get("return", "representation").strip('"'))
    if returns is None:
        raise InvalidRequest("Prefer: return must be minimal, representation or OperationOutcome.")
    handling = wanted.get("handling", "strict").strip('"')
    if handling not in ("strict", "lenient"):
        raise InvalidRequest("Prefer: handling must be strict or lenient.")
    return Preference(returns, handling == "lenient")
