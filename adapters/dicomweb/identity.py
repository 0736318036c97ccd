"""Is this study about this patient? PatientID with issuer, name and birth date against the FHIR Patient.

PS3.3 C.7.1.1 (Patient Module): https://dicom.nema.org/medical/dicom/current/output/chtml/part03/sect_C.7.html
"""

import unicodedata
from typing import Any

from adapters.dicomweb.client import Pacs
from adapters.dicomweb.dicomjson import text, value

_patient_id, _issuer, _name, _birth_date = "00100020", "00100021", "00100010", "00100030"


def patient_id(patient: dict[str, Any], pacs: Pacs) -> str | None:
    """Return the identifier by which this archive knows the patient."""
    for identifier in patient.get("identifier", ()):
        if identifier.get("system") == pacs.patient_id_system and identifier.get("use") != "old":
            found = identifier.get("value")
            return None if found is None else str(found)
    return None


def mismatch(dataset: dict[str, Any], patient: dict[str, Any], pacs: Pacs) -> str | None:
    """Return why the data set is not about the patient, as a code; None when it is.

    The identifier must agree; name and birth date must not contradict, and at least one of them must confirm.
    """
    if text(dataset, _patient_id).strip() != patient_id(patient, pacs):
        return "patient-id-mismatch"
    issuer = text(dataset, _issuer).strip()
    if issuer and pacs.issuer and issuer != pacs.issuer:
        return "issuer-mismatch"
    name, birth = _name_agrees(dataset, patient), _birth_date_agrees(dataset, patient)
    if birth is False:
        return "birth-date-mismatch"
    if name is False:
        return "name-mismatch"
    return None if name or birth else "identity-unconfirmed"


def _birth_date_agrees(dataset: dict[str, Any], patient: dict[str, Any]) -> bool | None:
    theirs, ours = (
        text(dataset, _birth_date).replace(".", "").strip(),
        str(patient.get("birthDate", "")).replace("-", ""),
    )
    if not theirs or not ours:
        return None
    return theirs[: len(ours)] == ours if len(ours) < len("yyyymmdd") else theirs == ours


def _name_agrees(dataset: dict[str, Any], patient: dict[str, Any]) -> bool | None:
    found = value(dataset, _name)
    groups = [group for group in found.values() if group] if isinstance(found, dict) else []
    theirs = [parts for group in groups if (parts := _components(group))]
    ours = [parts for name in patient.get("name", ()) if (parts := _human_name(name))]
    if not theirs or not ours:
        return None
    return any(_same(one, other) for one in theirs for other in ours)


def _components(group: str) -> tuple[str, str] | None:
    family, _, rest = group.partition("^")
    given = rest.partition("^")[0]
    return (_fold(family), _fold(given.split(" ")[0])) if _fold(family) else None


def _human_name(name: dict[str, Any]) -> tuple[str, str] | None:
    family, given = _fold(name.get("family", "")), name.get("given") or [""]
    return (family, _fold(str(given[0]).split(" ")[0])) if family else None


def _same(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Same family name, and given names that agree as far as the shorter goes (``M`` and ``Maria``)."""
    shorter, longer = sorted((one[1], other[1]), key=len)
    return one[0] == other[0] and longer.startswith(shorter)


def _fold(text: str) -> str:
    """Letters only, without accents or case."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(letter for letter in plain if letter.isalnum())
