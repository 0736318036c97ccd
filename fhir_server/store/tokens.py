"""Rows of issued bearer tokens, found by digest in one index probe whatever the token looks like.

https://datatracker.ietf.org/doc/html/rfc6750#section-5.3
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from psycopg import AsyncConnection

_insert = b"""
INSERT INTO fhir.access_token (digest, reference, scopes, patient, expires_at)
VALUES (%s, %s, %s, %s, now() + %s)
"""
_find = b"""
SELECT reference, scopes, patient FROM fhir.access_token
WHERE digest = %s AND expires_at > now() AND revoked_at IS NULL
"""
_revoke = b"UPDATE fhir.access_token SET revoked_at = now() WHERE digest = %s AND revoked_at IS NULL"


@dataclass(frozen=True, slots=True)
class TokenRow:
    """What a valid token stands for: the FHIR user, the scope string, the bound patient's id."""

    reference: str
    scopes: str
    patient: str | None


async def add_token(connection: AsyncConnection[Any], digest: bytes, row: TokenRow, lifetime: timedelta) -> None:
    """Store a token's digest; it expires ``lifetime`` from now by the database's clock."""
    await connection.execute(_insert, (digest, row.reference, row.scopes, row.patient, lifetime))


async def find_token(connection: AsyncConnection[Any], digest: bytes) -> TokenRow | None:
    """Return the row of a token that is neither expired nor revoked."""
    cursor = await connection.execute(_find, (digest,), prepare=True)
    found = await cursor.fetchone()
    return TokenRow(*found) if found else None


async def revoke_token(connection: AsyncConnection[Any], digest: bytes) -> bool:
    """End a token now. Tell whether there was a live one."""
    cursor = await connection.execute(_revoke, (digest,))
    return cursor.rowcount == 1
