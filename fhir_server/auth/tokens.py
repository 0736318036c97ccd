"""Opaque bearer tokens: issue, authenticate, revoke. A token is 256 random bits; the store knows its SHA-256 only.

https://datatracker.ietf.org/doc/html/rfc6750 and https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

import difflib
import hashlib
import secrets
import time
from datetime import timedelta
from functools import lru_cache
from weakref import WeakKeyDictionary

from fhir_server.definitions import RESOURCE_TYPES
from fhir_server.kernel.errors import InvalidRequest, Unauthorized
from fhir_server.kernel.references import parse_reference
from fhir_server.kernel.subject import Scope, Subject, parse_scopes
from fhir_server.store.database import Database
from fhir_server.store.tokens import TokenRow, add_token, find_token, revoke_token

DEFAULT_LIFETIME = timedelta(days=30)
USER_TYPES = ("Practitioner", "PractitionerRole", "Patient", "RelatedPerson", "Person", "Device", "Organization")
_kept_s = 1.0  # how long after its revocation elsewhere a token may still be taken
_most_known = 10_000
_known: "WeakKeyDictionary[Database, dict[bytes, tuple[float, Subject]]]" = WeakKeyDictionary()
"""By database: the digests of tokens found valid within the last second, until when that holds, and for whom."""


async def issue(
    database: Database,
    reference: str,
    scopes: str,
    *,
    patient: str | None = None,
    lifetime: timedelta = DEFAULT_LIFETIME,
) -> str:
    """Return a new token for ``reference`` (``Practitioner/1``, ``Patient/1`` … or ``system``).

    ``patient`` is the id that ``patient/`` scopes are bound to; a ``Patient/…`` reference is bound to itself.
    Raises InvalidRequest for a reference or a scope that means nothing.
    """
    bound = patient or _own_patient(reference)
    _check_scopes(scopes, bound)
    if lifetime <= timedelta(0):
        raise InvalidRequest("The lifetime of a token must be longer than nothing.")
    token = secrets.token_urlsafe(32)
    async with database.connection() as connection:
        await add_token(connection, _digest(token), TokenRow(reference, " ".join(scopes.split()), bound), lifetime)
    return token


async def authenticate(database: Database, header: str | None) -> Subject:
    """Return who the ``Authorization`` header speaks for. Raises Unauthorized.

    A token found valid is not looked up again for one second; one that is not is looked up each time. The time an
    answer takes tells nothing about a token but to who holds it: it is found by its SHA-256.
    """
    if not header:
        raise Unauthorized("This needs an access token: send 'Authorization: Bearer <token>'.")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("Only bearer tokens are accepted: send 'Authorization: Bearer <token>'.")
    digest, known, now = _digest(token.strip()), _known.setdefault(database, {}), time.monotonic()
    until, subject = known.get(digest, (now, None))
    if subject is not None and until > now:
        return subject
    async with database.connection() as connection:
        row = await find_token(connection, digest)
    if row is None:
        known.pop(digest, None)
        raise Unauthorized("The access token is unknown, expired or revoked.")
    subject = Subject(row.reference, row.reference, _parsed(row.scopes), row.patient)
    if len(known) >= _most_known:
        known.clear()
    known[digest] = (now + _kept_s, subject)
    return subject


async def revoke(database: Database, token: str) -> bool:
    """End ``token``: at once in this process, within a second in others. Tell whether it was live."""
    _known.setdefault(database, {}).pop(_digest(token), None)
    async with database.connection() as connection:
        return await revoke_token(connection, _digest(token))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


@lru_cache(maxsize=256)
def _parsed(scopes: str) -> tuple[Scope, ...]:
    return parse_scopes(scopes)


def _own_patient(reference: str) -> str | None:
    if reference == "system":
        return None
    parsed = parse_reference(reference)
    if parsed is None or parsed.type not in USER_TYPES:
        raise InvalidRequest(f"'{reference}' is not a FHIR user: give 'system' or one of {', '.join(USER_TYPES)}/<id>.")
    return parsed.id if parsed.type == "Patient" else None


def _check_scopes(scopes: str, patient: str | None) -> None:
    parsed = parse_scopes(scopes)
    if not parsed:
        raise InvalidRequest("A token needs at least one scope, such as 'user/Observation.rs'.")
    for scope in parsed:
        if scope.resource_type != "*" and scope.resource_type not in RESOURCE_TYPES:
            near = difflib.get_close_matches(scope.resource_type, RESOURCE_TYPES, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise InvalidRequest(f"The scope speaks of {scope.resource_type}, which is no FHIR R4 type.{hint}")
        if scope.level == "patient" and patient is None:
            raise InvalidRequest("patient/ scopes need a patient: give a Patient/<id> reference, or bind the token.")
