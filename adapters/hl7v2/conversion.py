"""What mapping hands to the transport side: the resources of one message, how each is written, or why it cannot be.

https://hl7.org/fhir/uv/v2mappings/ (v2-to-FHIR 1.0.0), error codes of HL7 table 0357.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Mode = Literal["merge", "ensure", "replace"]

SEGMENT_SEQUENCE_ERROR = "100"
REQUIRED_FIELD_MISSING = "101"
DATA_TYPE_ERROR = "102"
UNSUPPORTED_MESSAGE_TYPE = "200"
UNSUPPORTED_EVENT_CODE = "201"
DUPLICATE_KEY = "205"


@dataclass(frozen=True, slots=True)
class MappedResource:
    """One resource to write; ``resource["id"]`` is a UUIDv5 of its business key, the same at every resend.

    ``mode``: ``merge`` (what is present overwrites, what is absent keeps, ``clear`` removes), ``ensure`` (create only
    if absent), ``replace`` (PUT). ``match`` holds ``system|value`` tokens: a stored resource with one of these
    identifiers *is* this resource; its id wins and references are rewritten. ``clear`` names top-level elements that
    the sender emptied with ``""``. ``defaults`` are elements set only where neither message nor store has them.
    ``reopens``: this message takes an end back (A13), so a state may go backwards.
    """

    resource: dict[str, Any]
    mode: Mode
    match: tuple[str, ...] = ()
    clear: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    reopens: bool = False

    @property
    def reference(self) -> str:
        """``Type/id``, as other resources of the same Conversion refer to it."""
        return f"{self.resource['resourceType']}/{self.resource['id']}"


@dataclass(frozen=True, slots=True)
class PatientMerge:
    """Two patients are one (A40): references of the Conversion's own resources, and both lanes."""

    survivor: str
    retired: str
    lanes: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Conversion:
    """All resources of one message, referenced ones before referring ones.

    ``lane`` is the key messages are ordered by: ``system|mrn`` of the patient, or the sender when there is none.
    ``mapping`` is the hash of the effective mapping, for Provenance. ``warnings`` carry paths and rules, never values.
    """

    resources: tuple[MappedResource, ...]
    lane: str
    warnings: tuple[str, ...] = ()
    mapping: str = ""
    merges: tuple[PatientMerge, ...] = ()

    @property
    def lanes(self) -> tuple[str, ...]:
        """Every lane the message belongs to: its own, and those of each two patients it merges."""
        return (self.lane, *(lane for merge in self.merges for lane in merge.lanes))


class MappingError(Exception):
    """The message cannot be mapped: ERR-3 ``hl7_code`` (table 0357), ERR-2 ``location`` as ``PID^1^3``, ERR-8 ``text``.

    ``ack`` is the acknowledgement code of original mode: ``AE``, or ``AR`` for a message type we do not take.
    """

    def __init__(self, hl7_code: str, location: str, text: str, *, ack: Literal["AE", "AR"] = "AE") -> None:
        self.hl7_code = hl7_code
        self.location = location
        self.text = text
        self.ack = ack
        super().__init__(f"{text} (HL7 error {hl7_code} at {location})")
