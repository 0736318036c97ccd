"""Opaque page cursors: where a page ended, signed, and bound to the query and to who asked it.

https://hl7.org/fhir/R4/http.html#paging. Stateless: nothing expires, and a cursor of one caller is useless to another.
"""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import msgspec

from fhir_server.kernel.errors import InvalidSearch
from fhir_server.kernel.search_query import SearchQuery
from fhir_server.kernel.subject import Subject

_mac_length = 16


def sign(key: bytes, query: SearchQuery, subject: Subject, position: list[Any]) -> str:
    """Return the cursor for a position: the sort values of the last match, then its id."""
    payload = msgspec.json.encode(position)
    return urlsafe_b64encode(_mac(key, query, subject, payload) + payload).decode().rstrip("=")


def verify(key: bytes, query: SearchQuery, subject: Subject, cursor: str) -> list[Any]:
    """Return the position. Raises InvalidSearch when the cursor is not one given to this Subject for this query."""
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    except ValueError as error:
        raise _refused() from error
    mac, payload = raw[:_mac_length], raw[_mac_length:]
    if not hmac.compare_digest(mac, _mac(key, query, subject, payload)):
        raise _refused()
    position: list[Any] = msgspec.json.decode(payload)
    return position


def _refused() -> InvalidSearch:
    return InvalidSearch("'_cursor' was not issued for this search and this token. Start again from the first page.")


def _mac(key: bytes, query: SearchQuery, subject: Subject, payload: bytes) -> bytes:
    asked = [pair for pair in query.pairs if pair[0] not in ("_count", "_cursor", "_total")]
    scopes = [(scope.level, scope.resource_type, scope.interactions, scope.query) for scope in subject.scopes]
    bound = [query.resource_type, query.compartment, asked, subject.reference, subject.patient, scopes]
    return hmac.digest(key, msgspec.json.encode(bound) + b"\n" + payload, hashlib.sha256)[:_mac_length]
