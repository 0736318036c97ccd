"""Message → Conversion: picks the message's plan, runs it, and turns what is wrong into HL7 error codes.

https://hl7.org/fhir/uv/v2mappings/ ; error codes of table 0357.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from adapters.hl7v2.conversion import (
    REQUIRED_FIELD_MISSING,
    SEGMENT_SEQUENCE_ERROR,
    UNSUPPORTED_EVENT_CODE,
    UNSUPPORTED_MESSAGE_TYPE,
    Conversion,
    MappedResource,
    MappingError,
    Mode,
)
from adapters.hl7v2.identity import lane_of, patient_merges
from adapters.hl7v2.site_mapping import SiteMapping
from adapters.hl7v2.tokenizer import Message
from mappings.engine.context import Context, Draft
from mappings.engine.errors import ValueFault
from mappings.engine.mapping import EffectiveMapping, load_base
from mappings.engine.protocol import TraceRow
from mappings.hl7v2.library import FOLDER, LIBRARY

_STORED_ONLY = "nothing was mapped: the site only stores messages of this type (store_only)"
_codes: WeakKeyDictionary[SiteMapping, dict[Any, Any]] = WeakKeyDictionary()
_of_site: WeakKeyDictionary[SiteMapping, EffectiveMapping] = WeakKeyDictionary()


def mapping_of(site: SiteMapping) -> EffectiveMapping:
    """Return the site's effective mapping, compiled once. Raises MappingLoadError for a wrong patch or table."""
    if not site.layers:
        return _plain(FOLDER)
    known = _of_site.get(site)
    if known is None:
        known = EffectiveMapping(load_base(FOLDER), LIBRARY, site.layers)
        known.check()
        _of_site[site] = known
    return known


@lru_cache(maxsize=1)
def _plain(folder: Path) -> EffectiveMapping:
    return EffectiveMapping(load_base(folder), LIBRARY)


def convert(message: Message, site: SiteMapping) -> Conversion:
    """Return what ``message`` means in FHIR. Raises MappingError for what it lacks or what is not valid in it."""
    mapping = mapping_of(site)
    plan = _plan_of(message, mapping, site)
    if plan is None:
        return Conversion((), lane_of(message, site), (*message.warnings, _STORED_ONLY), mapping.hash)
    context = _run(message, site, mapping, plan, traced=False)
    resources = tuple(_mapped(draft) for draft in context.drafts.values())
    patient = context.built("patient", context.root)
    if not patient:
        raise MappingError(SEGMENT_SEQUENCE_ERROR, "PID^1", "PID stands where it cannot be the message's patient")
    lane = patient[0].match[0] if patient[0].match else lane_of(message, site)
    warnings = (*message.warnings, *context.warnings)
    return Conversion(resources, lane, warnings, mapping.hash, patient_merges(context))


def explain(message: Message, site: SiteMapping) -> tuple[TraceRow, ...]:
    """Return one row per value that went somewhere: source, value, row id, layer, FHIR path. Raises MappingError."""
    mapping = mapping_of(site)
    plan = _plan_of(message, mapping, site)
    return tuple(_run(message, site, mapping, plan, traced=True).trace or ()) if plan else ()


def _run(message: Message, site: SiteMapping, mapping: EffectiveMapping, plan: str, *, traced: bool) -> Context:
    try:
        codes = None if traced else _codes.setdefault(site, {})
        return mapping.plan(plan, traced=traced).run(message, site, traced=traced, codes=codes)
    except ValueFault as fault:
        raise MappingError(fault.code, fault.location, fault.text) from fault


def _plan_of(message: Message, mapping: EffectiveMapping, site: SiteMapping) -> str | None:
    """Return the message file that maps the message, None for a type the site only stores. Raises MappingError."""
    if not message.get("MSH-10").strip():
        raise MappingError(REQUIRED_FIELD_MISSING, "MSH^1^10", "MSH-10, the message control id, is empty")
    code, event = message.get("MSH-9.1").strip(), message.get("MSH-9.2").strip()
    name = mapping.message_of(f"{code}^{event}")
    if name is None and site.only_stores(code, event):
        return None
    if name is None:
        known = mapping.triggers(code)
        raise MappingError(
            UNSUPPORTED_EVENT_CODE if known else UNSUPPORTED_MESSAGE_TYPE,
            "MSH^1^9",
            "this event of the message type is not taken" if known else "this message type is not taken",
            ack="AR",
        )
    pid = message.first("PID")
    if pid is None:
        raise MappingError("100", "PID^1", "the message has no PID segment")
    if not pid.field(3).strip('" '):
        raise MappingError(REQUIRED_FIELD_MISSING, "PID^1^3", "PID-3, the patient identifier, is empty")
    return name


def _mapped(draft: Draft) -> MappedResource:
    resource = draft.resource
    clear = tuple(dict.fromkeys(name for name in draft.clear if name not in resource)) if draft.clear else ()
    mode: Mode = draft.mode  # type: ignore[assignment]  # a Plan admits only the three modes
    return MappedResource(resource, mode, draft.match, clear, draft.defaults, draft.reopens)
