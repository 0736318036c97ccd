"""The declaration of an operation, the call of one, and what it answers.

https://hl7.org/fhir/R4/operations.html and https://hl7.org/fhir/R4/operationdefinition.html
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fhir_server.definitions import RESOURCE_TYPES
from fhir_server.kernel.errors import Forbidden, Issue
from fhir_server.kernel.subject import Subject
from fhir_server.store.database import Transaction
from fhir_server.store.reader import Reader
from fhir_server.store.records import Stored

Level = Literal["system", "type", "instance", "version"]
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One ``in`` parameter; ``type`` is a FHIR type, ``Resource`` for any resource."""

    name: str
    type: str
    many: bool = False
    required: bool = False


@dataclass(frozen=True, slots=True)
class Inputs:
    """The values a call gives, by parameter; ``search`` are those that are search parameters.

    ``pairs`` are the primitive ones as they stand in a URL, for links.
    """

    values: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    search: tuple[Pair, ...] = ()
    pairs: tuple[Pair, ...] = ()

    def one(self, name: str, default: Any = None) -> Any:
        """Return the value of a parameter that is given once at most."""
        found = self.values.get(name, ())
        return found[0] if found else default

    def all(self, name: str) -> tuple[Any, ...]:
        """Return every value of a parameter."""
        return self.values.get(name, ())


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of an operation; ``safe`` means by GET, so that nothing may change.

    ``if_match`` is the version an If-Match header names.
    """

    resource_type: str | None = None
    id: str | None = None
    version: str | None = None
    inputs: Inputs = field(default_factory=Inputs)
    base_url: str = ""
    safe: bool = False
    if_match: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A searchset: ``cursor`` leads to its next page, ``issues`` go in as an outcome entry."""

    matches: tuple[Stored, ...]
    included: tuple[Stored, ...] = ()
    total: int | None = None
    cursor: str | None = None
    issues: tuple[Issue, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation returns: a resource, one that is stored, a searchset, or issues for an OperationOutcome.

    ``stored_at`` is a version that the call stored, for the Location header; ``about`` the id of the resource the call
    was about, where its address does not say.
    """

    content: dict[str, Any] | Stored | Page | tuple[Issue, ...]
    stored_at: Stored | None = None
    about: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """Done by reads alone, without a transaction around them."""

    run: Callable[[Reader, Invocation], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Writing:
    """Done in one transaction."""

    run: Callable[[Transaction, Invocation], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation as it is offered; ``does`` is what it does.

    ``access`` says at which levels it is offered, and which letters of ``cruds`` a Subject needs for the type there;
    on system level for any type. ``resource_types`` None means every type. With ``searches`` it takes the search
    parameters of the type beside its own.
    """

    name: str
    definition: str
    access: Mapping[Level, str]
    does: Reading | Writing
    resource_types: frozenset[str] | None = None
    parameters: tuple[Parameter, ...] = ()
    searches: bool = False
    affects_state: bool = False

    def offered_for(self, resource_type: str | None, level: Level) -> bool:
        """Tell whether the operation is there for a type (None: the system) at a level."""
        known = resource_type is None or self.resource_types is None or resource_type in self.resource_types
        return known and level in self.access

    def require(self, subject: Subject, resource_type: str | None, level: Level) -> None:
        """Raise Forbidden unless the Subject's scopes have the letters this operation needs."""
        for letter in self.access[level]:
            if resource_type is not None:
                subject.require(resource_type, letter)
            elif not any(subject.grants(name, letter) for name in RESOURCE_TYPES):
                raise Forbidden(f"The token's scopes do not allow ${self.name}.")

    def parameter(self, name: str) -> Parameter | None:
        """Return the parameter of this name."""
        return next((one for one in self.parameters if one.name == name), None)
