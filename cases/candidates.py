"""Choose the specialist who is asked next. Pure.

Out: who is inactive, of another specialty, in conflict, already asked, or the author of the opinion in question.
Among the rest the programme's preference decides, then the id.
https://hl7.org/fhir/R4/practitionerrole.html
"""

from cases import codes
from cases.snapshot import Resource, Snapshot, canonical, reference, target, targets
from programmes.model import Programme

_last = 1_000_000


def next_candidate(snapshot: Snapshot, programme: Programme) -> Resource | None:
    """Return the PractitionerRole to offer the review to, None when nobody is left."""
    asked = {target(task.get("owner")) for task in snapshot.of_kind(codes.SPECIALIST_REVIEW)}
    involved = _involved(snapshot)
    wanted = wanted_specialty(snapshot, programme)
    free = [
        role
        for role in snapshot.roles
        if is_specialist(role, programme)
        and _serves(role, wanted)
        and reference(role) not in asked
        and target(role.get("practitioner")) not in asked | involved
        and not involved & _conflicts(role)
    ]
    return min(free, key=lambda role: (_preference(role), str(role["id"])), default=None)


def is_specialist(role: Resource, programme: Programme) -> bool:
    """Tell whether the role is an active specialist's in this programme."""
    return (
        role.get("active", True)
        and target(role.get("organization")) == programme.organization
        and any(codes.has_code(code, (codes.SO_ROLE, codes.SPECIALIST)) for code in role.get("code", ()))
    )


def wanted_specialty(snapshot: Snapshot, programme: Programme) -> tuple[str | None, str] | None:
    """Return the specialty asked for: ServiceRequest.performerType, else the field of medicine of the intake."""
    for coding in snapshot.request.get("performerType", {}).get("coding", ()):
        if coding.get("code"):
            return coding.get("system"), str(coding["code"])
    for response in snapshot.responses:
        if canonical(response) == programme.intake:
            field = _answered_field(response)
            if field:
                return codes.SO_FIELD, field
    return None


def _answered_field(item: Resource) -> str | None:
    for child in item.get("item", ()):
        if child.get("linkId") == codes.LINK_FIELD:
            coding: Resource = next((a["valueCoding"] for a in child.get("answer", ()) if "valueCoding" in a), {})
            return coding.get("code")
        if found := _answered_field(child):
            return found
    return None


def _serves(role: Resource, wanted: tuple[str | None, str] | None) -> bool:
    """No specialty asked for means any will do."""
    if wanted is None:
        return True
    system, code = wanted
    codings = [coding for concept in role.get("specialty", ()) for coding in concept.get("coding", ())]
    return any(coding.get("code") == code and system in (None, coding.get("system")) for coding in codings)


def _involved(snapshot: Snapshot) -> set[str]:
    """The people whose opinion this case is about: who asked, and who wrote the records."""
    found = {target(snapshot.request.get("requester")), target(snapshot.case.get("requester"))}
    for record in snapshot.evidence:
        found |= {*targets(record.get("resultsInterpreter")), *targets(record.get("author"))}
    return found - {""}


def _conflicts(role: Resource) -> set[str]:
    urls = (item for item in role.get("extension", ()) if item.get("url") == codes.SO_CONFLICT)
    return {target(item.get("valueReference")) for item in urls}


def _preference(role: Resource) -> int:
    found = (item for item in role.get("extension", ()) if item.get("url") == codes.SO_PREFERENCE)
    return int(next((item.get("valuePositiveInt", _last) for item in found), _last))
