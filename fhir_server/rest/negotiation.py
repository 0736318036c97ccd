"""What the client wants and what it sent: Accept, _format, Content-Type, Prefer.

https://hl7.org/fhir/R4/http.html#mime-type and https://hl7.org/fhir/R4/http.html#ops
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from fhir_server.kernel.errors import InvalidRequest, NotAcceptable, UnsupportedMediaType

MEDIA_TYPE = "application/fhir+json"
CONTENT_TYPE = "application/fhir+json; charset=utf-8"

_json = frozenset({"application/fhir+json", "application/json", "text/json", "json"})
_ranges = _json | {"*/*", "application/*", "text/*"}
_our_versions = frozenset({"4.0", "4.0.1"})

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
def check_accept(accept: str | None, format: str | None) -> None:
    """Raise NotAcceptable unless the client takes FHIR JSON of R4; ``_format`` in the URL overrides the header."""
    if format is not None:
        if format.partition(";")[0].replace(" ", "+") not in _json:
            raise NotAcceptable("This server speaks JSON only: use _format=json.")
        return
    if accept is None or not accept.strip() or any(_accepts(part) for part in accept.split(",")):
        return
    raise NotAcceptable(f"This server answers in {MEDIA_TYPE} only: send it, or */*, in Accept.")


def _accepts(part: str) -> bool:
    media_type, *parameters = (piece.strip() for piece in part.split(";"))
    if media_type.lower() not in _ranges:
        return False
    given = dict(parameter.partition("=")[::2] for parameter in parameters)
    if given.get("fhirVersion", "4.0") not in _our_versions:
        return False
    return given.get("q", "1").strip("0.") != ""


@lru_cache(maxsize=256)
def check_content_type(content_type: str | None, *more: str) -> None:
    """Raise UnsupportedMediaType unless the body is FHIR JSON in UTF-8, or one of ``more``."""
    media_type, *parameters = (piece.strip().lower() for piece in (content_type or "").split(";"))
    wanted = more or (MEDIA_TYPE, "application/json")
    if media_type not in wanted:
        raise UnsupportedMediaType(f"Send the body as {wanted[0]} and say so in Content-Type.")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8", "us-ascii"):
            raise UnsupportedMediaType("FHIR JSON is UTF-8.")


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
