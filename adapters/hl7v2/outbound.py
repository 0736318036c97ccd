"""The signed report as HL7 v2: ORU^R01 into the results inbox, MDM^T02 into the documents, with the PDF as ED.

HL7 v2.9 §7.3.1 and §9.6.2. What goes where is in ``mappings/hl7v2/outbound/*.yaml``; here everything is escaped, so
that no text of a report can end a field or begin a segment.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from adapters.hl7v2.charset import codec_of
from adapters.hl7v2.escapes import STANDARD, escaper
from adapters.hl7v2.site_mapping import SiteMapping
from mappings.engine.outbound import Component, Field, OutMessage
from mappings.hl7v2.identifiers import NPI, SSN
from mappings.hl7v2.outbound_types import load_outbound

Resource = Mapping[str, Any]

_known_systems = {NPI: ["NPI"], SSN: ["SSA"]}
_code_of_placer, _code_of_filler = "PLAC", "FILL"


@dataclass(frozen=True, slots=True)
class Envelope:
    """MSH of an outgoing message; ``control_id`` is MSH-10 (at most 20 characters), ``sent_at`` has a time zone."""

    control_id: str
    sent_at: datetime
    sending_application: str
    sending_facility: str
    receiving_application: str = ""
    receiving_facility: str = ""
    processing_id: str = "P"
    version: str = "2.5.1"
    charset: str = "UNICODE UTF-8"


@dataclass(frozen=True, slots=True)
class Report:
    """What a report message is made of: resources as stored, the text to show, the PDF.

    ``document_number`` is the Identifier of this version of the document (TXA-12), the report's own by default;
    ``ed`` are ED-2 and ED-3 as the receiver wants them.
    """

    report: Resource
    patient: Resource
    order: Resource
    text: str
    pdf: bytes
    encounter: Resource | None = None
    requester: Resource | None = None
    author: Resource | None = None
    document_number: Resource | None = None
    ed: tuple[str, str] = ("application", "pdf")


@dataclass(frozen=True, slots=True)
class Authorities:
    """Identifier system → HD, from the site's authority table read backwards."""

    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, site: SiteMapping) -> "Authorities":
        """Return the table of a site; where two authorities share a system the first one speaks."""
        names: dict[str, str] = {}
        for authority, systems in site.authorities.items():
            for system in systems.values():
                names.setdefault(system, authority)
        return cls(names)

    def authority(self, system: str) -> list[str]:
        """Return namespace id, universal id and its type for an identifier system."""
        if system in self.names:
            return [self.names[system]]
        if system in _known_systems:
            return _known_systems[system]
        if system.startswith("urn:oid:"):
            return ["", system.removeprefix("urn:oid:"), "ISO"]
        if system.startswith("urn:uuid:"):
            return ["", system.removeprefix("urn:uuid:"), "UUID"]
        return ["", system, "URI"] if system else [""]


def oru_r01(content: Report, envelope: Envelope, site: SiteMapping) -> bytes:
    """Return the report as ORU^R01: concordance, text lines, PDF. OBR-25 is ``C`` for a corrected report."""
    return _written("ORU_R01", content, envelope, site)


def mdm_t02(content: Report, envelope: Envelope, site: SiteMapping) -> bytes:
    """Return the report as MDM^T02: text lines and the same PDF, legally authenticated."""
    return _written("MDM_T02", content, envelope, site)


@lru_cache(maxsize=8)
def _message(name: str) -> OutMessage:
    return load_outbound(name)


def _written(name: str, content: Report, envelope: Envelope, site: SiteMapping) -> bytes:
    data = _data(content, envelope)
    segments = [_segment(*pair) for pair in _message(name).fields(data, Authorities.of(site))]
    codec = codec_of(envelope.charset) or "ascii"
    return "".join(f"{segment}\r" for segment in segments).encode(codec, "replace")


def _data(content: Report, envelope: Envelope) -> dict[str, Any]:
    report = content.report
    lines = [line.rstrip() for line in content.text.splitlines() if line.strip()]
    return {
        "envelope": {name: getattr(envelope, name) for name in envelope.__slots__} | {"sent_at": _clock(envelope)},
        "report": report,
        "patient": content.patient,
        "encounter": content.encounter,
        "requester": content.requester,
        "author": content.author,
        "placer": _numbered(content.order, _code_of_placer),
        "filler": _numbered(content.order, _code_of_filler) or _numbered(report, _code_of_filler),
        "effective": report.get("effectiveDateTime") or report.get("effectivePeriod", {}).get("end"),
        "section": _section(report),
        "patient_class": (content.encounter or {}).get("class", {}).get("code", "unknown"),
        "document_number": content.document_number or next(iter(report.get("identifier", ())), None),
        "outcomes": [_shown(concept) for concept in report.get("conclusionCode", ())],
        "lines": [{"number": str(number), "text": line} for number, line in enumerate(lines, 1)],
        "documents": [
            {
                "source": envelope.sending_application,
                "type": content.ed[0],
                "subtype": content.ed[1],
                "data": content.pdf,
            }
        ],
    }


def _clock(envelope: Envelope) -> str:
    return envelope.sent_at.isoformat(timespec="seconds")


def _numbered(resource: Resource, kind: str) -> Resource | None:
    for identifier in resource.get("identifier", ()):
        if any(coding.get("code") == kind for coding in identifier.get("type", {}).get("coding", ())):
            return dict(identifier)
    return None


def _section(report: Resource) -> str | None:
    codings = [coding for concept in report.get("category", ()) for coding in concept.get("coding", ())]
    return next((str(c["code"]) for c in codings if str(c.get("system", "")).endswith("v2-0074")), None)


def _shown(concept: Mapping[str, Any]) -> str:
    codings = concept.get("coding") or [{}]
    return str(concept.get("text") or codings[0].get("display") or codings[0].get("code", ""))


def _segment(name: str, fields: Mapping[int, Field]) -> str:
    texts = [_field(fields.get(number, [])) for number in range(1, max(fields, default=0) + 1)]
    if name == "MSH":
        return STANDARD.field.join(["MSH", STANDARD.encoding_characters, *texts[2:]])
    return STANDARD.field.join([name, *texts])


def _field(repetitions: Field) -> str:
    return STANDARD.repetition.join(
        STANDARD.component.join(_component(component) for component in repetition) for repetition in repetitions
    )


def _component(component: Component) -> str:
    escape = escaper(STANDARD)
    if isinstance(component, str):
        return escape(component)
    return STANDARD.subcomponent.join(escape(part) for part in component)
