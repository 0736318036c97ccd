"""What PostgreSQL's failures mean to the one who asked.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors
from psycopg_pool import PoolTimeout

from fhir_server.kernel.errors import Conflict, FhirError, InvalidRequest, Unavailable

STATEMENT_TIMEOUT_S = 5


class Collision(Conflict):
    """Two transactions stood in each other's way; doing this one again is right."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors into ours; the texts name no value."""
    try:
        yield
    except (psycopg.Error, PoolTimeout) as error:
        meaning = _meaning(error)
        if meaning is None:
            raise
        raise meaning from error


def _meaning(error: Exception) -> FhirError | None:
    if isinstance(error, errors.SerializationFailure | errors.DeadlockDetected):
        return Collision("Another write collided with this one. Send the request again.")
    if isinstance(error, errors.QueryCanceled):
        return Unavailable(
            f"The database took longer than {STATEMENT_TIMEOUT_S} s. Narrow the search, for example by patient or date."
        )
    if isinstance(error, errors.ProgramLimitExceeded | errors.UntranslatableCharacter):
        return InvalidRequest("The request holds a character or a size that cannot be stored.")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | PoolTimeout):
        return Unavailable("The database cannot be reached at the moment. Try again.")
    return None
