"""What a report says, as plain values: the one source of the PDF and of the FHIR document.

https://hl7.org/fhir/R4/documents.html#content
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """One question of the intake and the specialist's answer to it; ``key`` is the intake item's linkId."""

    key: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class ReviewedRecord:
    """One record the specialist had: ``date`` as ``YYYY-MM-DD`` or empty, ``source`` who sent it."""

    reference: str
    title: str
    date: str
    source: str


@dataclass(frozen=True, slots=True)
class Person:
    """A person as the report names them; ``detail`` is one line under the name (identifier, specialty)."""

    reference: str
    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Letterhead:
    """Who issues the report: the programme and its organisation.

    ``lines`` are address lines, ``time_zone`` an IANA name, ``paper`` a typst paper name (``us-letter``, ``a4``).
    """

    reference: str
    name: str
    lines: tuple[str, ...] = ()
    time_zone: str = "America/New_York"
    paper: str = "us-letter"


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the specialist wrote: a coded ``outcome`` (so-outcome), the prose, and an answer to every question.

    ``trials`` is empty when the specialist said nothing of clinical trials.
    """

    outcome: str
    diagnosis: str
    plan: str
    trials: str
    limitations: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class ReportContent:
    """Everything a report shows; ``signed_at`` is aware, ``key_id`` the thumbprint of the signing key."""

    programme: Letterhead
    case_number: str
    patient: Person
    birth_date: str
    sex: str
    referrer: Person
    specialist: Person
    opinion: Opinion
    records: tuple[ReviewedRecord, ...]
    requested: str
    signed_at: datetime
    document: str
    key_id: str
