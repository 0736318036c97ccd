"""The little the engine asks of a message, a site and a group: structure only, so that it imports nothing of ours."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol


class Delimiters(Protocol):
    """Delimiters as in MSH-1 and MSH-2; ``""`` for one that is not used."""

    @property
    def component(self) -> str:
        """Between components."""
        ...

    @property
    def repetition(self) -> str:
        """Between repetitions."""
        ...

    @property
    def subcomponent(self) -> str:
        """Between sub-components."""
        ...


class Segment(Protocol):
    """One segment: its fields are raw text, escapes unresolved."""

    name: str
    position: int

    @property
    def fields(self) -> Sequence[str]:
        """Raw fields by number; 0 is the name."""
        ...

    def field(self, number: int) -> str:
        """Return field ``number``, all repetitions, ``""`` when absent."""
        ...


class Message(Protocol):
    """A message as the engine sees it."""

    unescape: Callable[[str], str]

    @property
    def delimiters(self) -> Delimiters:
        """The message's delimiters."""
        ...

    @property
    def segments(self) -> Sequence[Segment]:
        """Every segment in order."""
        ...


class Site(Protocol):
    """What a site says about its identifiers, codes and clock."""

    @property
    def site(self) -> str:
        """The site's name."""
        ...

    @property
    def zone(self) -> str | None:
        """IANA time zone, None when unknown."""
        ...

    @property
    def namespace(self) -> str:
        """URI under which identifiers without a known authority live."""
        ...

    @property
    def mrn(self) -> tuple[str, ...]:
        """Authorities of the patient number, best first."""
        ...

    @property
    def code_systems(self) -> Mapping[str, str]:
        """Coding system mnemonic → URI."""
        ...

    @property
    def invalid_dates(self) -> str:
        """``reject`` or ``drop``."""
        ...

    def system(self, authority: str, identifier_type: str) -> str | None:
        """Return the identifier system of an authority and table 0203 type."""
        ...


Resource = dict[str, Any]


class TraceRow(NamedTuple):
    """One line of ``explain``: this value, by this row of this layer, went to this FHIR path."""

    source: str
    value: str
    row: str
    layer: str
    path: str
