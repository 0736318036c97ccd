"""Which lane a message waits in: its patient's, or its sender's when it names none; and whose lanes a merge joins."""

from adapters.hl7v2.conversion import DUPLICATE_KEY, MappingError, PatientMerge
from adapters.hl7v2.site_mapping import SiteMapping
from adapters.hl7v2.tokenizer import Message
from mappings.engine.context import Context
from mappings.hl7v2.identifiers import cx_system
from mappings.hl7v2.keys import PATIENT_TYPES


def lane_of(message: Message, site: SiteMapping) -> str:
    """Return ``system|mrn`` of the patient as mapping would choose it, else site, MSH-3 and MSH-4."""
    return patient_token(message, site) or f"{site.site}|{message.get('MSH-3.1')}|{message.get('MSH-4.1')}"


def patient_token(message: Message, site: SiteMapping) -> str | None:
    """Return ``system|value`` of the patient number in PID-3, None when no repetition has a known authority."""
    pid = message.first("PID")
    if pid is None:
        return None
    context = Context(message, site)
    preferred = [site.system(authority, "MR") for authority in site.mrn]
    found: list[tuple[int, int, str]] = []
    for repetition in message.split(pid.field(3), message.delimiters.repetition):
        frame = message.split(repetition, message.delimiters.component)
        kind = context.plain(frame[4]) if len(frame) > 4 else ""  # noqa: PLR2004 - CX-5
        value, system = context.plain(frame[0]), cx_system(frame, context, assumed="MR")
        if value and system and kind in PATIENT_TYPES:
            place = preferred.index(system) if system in preferred else len(preferred)
            found.append((place, PATIENT_TYPES.index(kind), f"{system}|{value}"))
    return min(found, key=lambda entry: entry[:2])[2] if found else None


def patient_merges(context: Context) -> tuple[PatientMerge, ...]:
    """Return the merges a message asks for. Raises MappingError 205 when somebody is merged into themselves."""
    found = []
    for retired in context.inside("retired", context.root):
        survivor = next(iter(context.built("patient", retired.group)), None)
        if survivor is None:
            raise MappingError("100", "PID^1", "MRG stands without the PID of the patient who stays")
        if set(survivor.match) & set(retired.match):
            raise MappingError(DUPLICATE_KEY, "MRG^1^1", "PID-3 and MRG-1 are the same patient; nothing to merge")
        found.append(PatientMerge(survivor.reference, retired.reference, (survivor.match[0], retired.match[0])))
    return tuple(found)
