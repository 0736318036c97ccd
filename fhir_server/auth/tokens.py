"""Opaque bearer tokens: issue, authenticate, revoke. A token is 256 random bits; the store knows its SHA-256 only.

https://datatracker.ietf.org/doc/html/rfc6750 and https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

import difflib
import hashlib
import secrets
from datetime import timedelta
from functools import lru_cache

from fhir_server.definitions import RESOURCE_TYPES
from fhir_server.kernel.errors import InvalidRequest, Unauthorized
from fhir_server.kernel.references import parse_reference
from fhir_server.kernel.subject import Scope, Subject, parse_scopes
from fhir_server.store.database import Database
from fhir_server.store.tokens import TokenRow, add_token, find_token, revoke_token

DEFAULT_LIFETIME = timedelta(days=30)
USER_TYPES = ("Practitioner", "PractitionerRole", "Patient", "RelatedPerson", "Person", "Device", "Organization")


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

    Every header that carries a token costs one hash and one index probe, so that the time tells nothing about it.
    """
    if not header:
        raise Unauthorized("This needs an access token: send 'Authorization: Bearer <token>'.")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("Only bearer tokens are accepted: send 'Authorization: Bearer <token>'.")
    async with database.connection() as connection:
        row = await find_token(connection, _digest(token.strip()))
    if row is None:
        raise Unauthorized("The access token is unknown, expired or revoked.")
    return Subject(row.reference, row.reference, _parsed(row.scopes), row.patient)


async def revoke(database: Database, token: str) -> bool:
    """End ``token`` at once; tell whether it was live."""
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
