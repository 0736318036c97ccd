"""FHIR data types → HL7 v2 data types, as lists of components. HL7 v2.9 chapter 2A."""

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mappings.engine.mapping import read_yaml
from mappings.engine.outbound import Component, Outgoing, OutMessage, Repetition, Write, compile_outbound

_date_time = re.compile(r"(\d{4})(?:-(\d\d))?(?:-(\d\d))?(?:T(\d\d):(\d\d)(?::(\d\d))?(\.\d+)?(Z|[+-]\d\d:\d\d)?)?")
_mnemonics = {
    "http://loinc.org": "LN",
    "http://snomed.info/sct": "SCT",
    "http://hl7.org/fhir/sid/icd-10-cm": "I10C",
    "http://hl7.org/fhir/sid/icd-10": "I10",
}
_genders = {"male": "M", "female": "F", "other": "O", "unknown": "U"}
_report_statuses = {
    "registered": "O", "partial": "A", "preliminary": "P", "final": "F", "amended": "C", "corrected": "C",
    "appended": "C", "cancelled": "X", "entered-in-error": "X",
}  # fmt: skip
_classes = {"IMP": "I", "ACUTE": "I", "NONAC": "I", "AMB": "O", "EMER": "E", "PRENC": "P", "OBSENC": "B"}


def st(value: Any, _: Outgoing) -> Repetition | None:
    """Any text."""
    return [str(value)] if value not in (None, "") else None


def dtm(value: Any, _: Outgoing) -> Repetition | None:
    """FHIR date, dateTime or instant → DTM, precision and offset kept."""
    found = _date_time.fullmatch(str(value))
    if not found:
        return None
    *parts, fraction, offset = found.groups()
    text = "".join(part for part in parts if part) + (fraction or "")[:5]
    return [text + ("+0000" if offset == "Z" else (offset or "").replace(":", ""))]


def xpn(value: Mapping[str, Any], _: Outgoing) -> Repetition | None:
    """HumanName → XPN; a name of text alone goes into the family name."""
    given = [*value.get("given", ())]
    suffix, prefix = " ".join(value.get("suffix", ())), " ".join(value.get("prefix", ()))
    family = value.get("family") or ("" if given else value.get("text", ""))
    parts = [family, given[0] if given else "", " ".join(given[1:]), suffix, prefix]
    return _trimmed(parts) or None


def cx(value: Mapping[str, Any], outgoing: Outgoing) -> Repetition | None:
    """Identifier → CX with assigning authority and type; one without a value is nothing."""
    if not value.get("value"):
        return None
    kind = next((str(coding.get("code")) for coding in value.get("type", {}).get("coding", ())), "")
    return _trimmed([value["value"], "", "", _trimmed_text(outgoing.authority(value.get("system", ""))), kind])


def ei(value: Mapping[str, Any], outgoing: Outgoing) -> Repetition | None:
    """Identifier → EI."""
    if not value.get("value"):
        return None
    return _trimmed([value["value"], *outgoing.authority(value.get("system", ""))])


def cwe(value: Mapping[str, Any], _: Outgoing) -> Repetition | None:
    """CodeableConcept → CWE: first coding, second coding, text."""
    codings = value.get("coding", [])[:2]
    parts: list[Component] = [""] * 9
    for at, coding in zip((0, 3), codings, strict=False):
        system = coding.get("system", "")
        mnemonic = _mnemonics.get(system) or ("L" if system else "")
        parts[at : at + 3] = [coding.get("code", ""), coding.get("display") or value.get("text", ""), mnemonic]
    if value.get("text") and (not codings or value["text"] != codings[0].get("display")):
        parts[1 if not codings else 8] = value["text"]
    return _trimmed(parts) or None


def xcn(value: Mapping[str, Any], outgoing: Outgoing) -> Repetition | None:
    """Practitioner → XCN with identifier and assigning authority."""
    names = value.get("name", [])
    identifier: Mapping[str, Any] = next((i for i in value.get("identifier", ()) if i.get("value")), {})
    name = xpn(names[0], outgoing) if names else None
    if not name and not identifier:
        return None
    padded: list[Component] = [*(name or []), *[""] * 5][:5]
    family, given, middle, suffix, prefix = padded
    authority = outgoing.authority(identifier.get("system", "")) if identifier else [""]
    return _trimmed(
        [identifier.get("value", ""), family, given, middle, suffix, prefix, "", "", _trimmed_text(authority)]
    )


def _coded(codes: Mapping[str, str], otherwise: str) -> Write:
    def write(value: Any, _: Outgoing) -> Repetition:
        return [codes.get(str(value), otherwise)]

    return write


def ed(value: Mapping[str, Any], _: Outgoing) -> Repetition:
    """``{source, type, subtype, data: bytes}`` → ED in base64 without line breaks."""
    data = base64.b64encode(value["data"]).decode()
    return [value.get("source", ""), value["type"], value["subtype"], "Base64", data]


def _trimmed(parts: list[Any]) -> list[Component]:
    kept = list(parts)
    while kept and not kept[-1]:
        kept.pop()
    return kept


def _trimmed_text(parts: list[str]) -> list[str]:
    kept = list(parts)
    while kept and not kept[-1]:
        kept.pop()
    return kept


TYPES: dict[str, Write] = {
    "ST": st,
    "DTM": dtm,
    "XPN": xpn,
    "CX": cx,
    "EI": ei,
    "CWE": cwe,
    "XCN": xcn,
    "ED": ed,
    "gender": _coded(_genders, "U"),
    "report_status": _coded(_report_statuses, "F"),
    "patient_class": _coded(_classes, "U"),
}


def load_outbound(name: str) -> OutMessage:
    """Return the outgoing message ``outbound/<name>.yaml``. Raises MappingLoadError."""
    return compile_outbound(name, read_yaml(Path(__file__).parent / "outbound" / f"{name}.yaml"), TYPES)
