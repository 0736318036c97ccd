"""The record manifest, the images and the deliveries of a case, as the page shows them: no I/O, no markup.

docs/case-page.md
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from smart_app import vocabulary as words
from smart_app.case_sources import CaseSources
from smart_app.case_view import person
from smart_app.wording import code_in, concept_text, extension, person_name, show_day, show_time, show_times_in, target

Resource = Mapping[str, Any]
_UID_PREFIX = "urn:oid:"
_STATES = {
    "completed": ("arrived", "Arrived"),
    "cancelled": ("waived", "Waived"),
    "received": ("waiting", "On its way"),
    "in-progress": ("waiting", "On its way"),
    "on-hold": ("waiting", "On hold"),
    "failed": ("missing", "Failed"),
    "rejected": ("missing", "Refused"),
}
_DELIVERY_STATES = {
    "completed": ("arrived", "Delivered"),
    "in-progress": ("waiting", "Being sent"),
    "on-hold": ("missing", "Needs a person"),
    "cancelled": ("waived", "Cancelled"),
    "failed": ("missing", "Failed"),
}


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One record the programme asked for; ``state`` is missing, waiting, arrived or waived."""

    title: str
    is_mandatory: bool
    state: str
    state_words: str
    requested: str
    settled: str
    record: str
    summary: str
    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Slice:
    """One image of a series; ``path`` is a path of this app."""

    path: str
    caption: str


@dataclass(frozen=True, slots=True)
class Study:
    """One imaging study with the first, middle and last slice of its largest series."""

    title: str
    facts: tuple[str, ...]
    slices: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class Delivery:
    """The report's way to one recipient, with the proof that it came through."""

    recipient: str
    channel: str
    state: str
    state_words: str
    when: str
    proof: str


def manifest(sources: CaseSources, zone: ZoneInfo) -> tuple[ManifestRow, ...]:
    """Return the rows of the manifest, those still missing first."""
    rows = [_row(task, sources, zone) for task in sources.of_kind(words.RECORD_REQUEST)]
    order = ("missing", "waiting", "arrived", "waived")
    return tuple(sorted(rows, key=lambda row: (order.index(row.state), not row.is_mandatory, row.title)))


def arrival(sources: CaseSources, reference: str) -> tuple[str, str]:
    """Return when a resource came, and by which message: ``ORU^R01 from LAKESIDE``; empty where nothing says."""
    told = [item for item in sources.provenances if reference in (target(found) for found in item.get("target", ()))]
    for item in sorted(told, key=lambda found: str(found.get("recorded", ""))):
        activity = item.get("activity", {})
        if code_in(activity, words.SO_ACTIVITY):
            continue  # our own bookkeeping about the record, not its arrival
        parts = (_message(activity), _sender(item))
        if any(parts):
            return str(item.get("recorded", "")), " from ".join(part for part in parts if part)
    resource = sources.known.get(reference, {})
    told_by_itself = str(resource.get("meta", {}).get("source", "")).partition("#")[0]
    return "", told_by_itself or ("DICOMweb" if resource.get("resourceType") == "ImagingStudy" else "")


def is_left_open(task: Resource) -> bool:
    """Tell whether the request ended with its case: nobody waived the record, it just never came."""
    return task.get("status") == "cancelled" and code_in(task.get("statusReason"), words.SO_REASON) == words.CASE_CLOSED


def studies(sources: CaseSources, zone: ZoneInfo) -> tuple[Study, ...]:
    """Return the imaging studies that arrived for the case."""
    found = {
        str(item["id"]): item
        for task in sources.of_kind(words.RECORD_REQUEST)
        for reference in _outputs(task, "record")
        if (item := sources.known.get(reference, {})).get("resourceType") == "ImagingStudy"
    }
    return tuple(_study(item, zone) for item in found.values())


def deliveries(sources: CaseSources, zone: ZoneInfo) -> tuple[Delivery, ...]:
    """Return the deliveries of the report, in the order they were asked for."""
    return tuple(_delivery(task, sources, zone) for task in sources.of_kind(words.REPORT_DELIVERY))


def _row(task: Resource, sources: CaseSources, zone: ZoneInfo) -> ManifestRow:
    reference = next(iter(_outputs(task, "record")), "")
    record = sources.known.get(reference, {})
    state, state_words = _STATES.get(str(task.get("status")), ("missing", "Not yet received"))
    if is_left_open(task):
        state_words = "Not received"
    arrived, source = arrival(sources, reference) if reference else ("", "")
    settled = (arrived or str(task.get("lastModified", ""))) if state in ("arrived", "waived") else ""
    return ManifestRow(
        title=str(task.get("code", {}).get("text") or task.get("description", "Record")),
        is_mandatory=bool(extension(task, words.SO_MANDATORY).get("valueBoolean")),
        state=state,
        state_words=state_words,
        requested=show_day(str(task.get("authoredOn", "")), zone),
        settled=show_time(settled, zone),
        record=_record_title(record, zone),
        summary=str(record.get("conclusion", "")),
        source=source,
        reason=concept_text(task.get("statusReason")),
    )


def _outputs(task: Resource, code: str) -> list[str]:
    return [
        target(item["valueReference"])
        for item in task.get("output", ())
        if "valueReference" in item and code_in(item.get("type"), words.SO_OUTPUT) == code
    ]


def _record_title(record: Resource, zone: ZoneInfo) -> str:
    if not record:
        return ""
    title = str(record.get("description") or "") or concept_text(record.get("code") or record.get("type"))
    days = (record.get(name) for name in ("effectiveDateTime", "started", "date", "issued"))
    day = show_day(str(next((value for value in days if value), "")), zone)
    return ", ".join(part for part in (title or str(record["resourceType"]), day) if part)


def _message(activity: Resource) -> str:
    """``ORU^R01^ORU_R01`` is shown as ``ORU^R01``: the structure says nothing to a physician."""
    return "^".join(concept_text(activity).split("^")[:2])


def _sender(provenance: Resource) -> str:
    agents = provenance.get("agent", ())
    return next((str(agent["who"]["display"]) for agent in agents if agent.get("who", {}).get("display")), "")


def _study(study: Resource, zone: ZoneInfo) -> Study:
    accession = next((str(item.get("value", "")) for item in study.get("identifier", ()) if _is_accession(item)), "")
    series, instances = study.get("numberOfSeries"), study.get("numberOfInstances")
    modalities = {str(item.get("code", "")) for item in study.get("modality", ())}
    facts = (
        "/".join(sorted(modalities - {""})),
        show_day(str(study.get("started", "")), zone),
        f"{series} series" if series else "",
        f"{instances} images" if instances else "",
        f"Accession {accession}" if accession else "",
    )
    return Study(
        title=str(study.get("description") or "Imaging study"),
        facts=tuple(fact for fact in facts if fact),
        slices=_slices(study),
    )


def _is_accession(identifier: Resource) -> bool:
    codings = identifier.get("type", {}).get("coding", ())
    return any(coding.get("code") == "ACSN" for coding in codings) or "accession" in str(identifier.get("system", ""))


def _slices(study: Resource) -> tuple[Slice, ...]:
    uids = [str(item.get("value", "")) for item in study.get("identifier", ()) if item.get("system") == "urn:dicom:uid"]
    series: Resource = max(study.get("series", ()), key=lambda item: len(item.get("instance", ())), default={})
    images = sorted(series.get("instance", ()), key=lambda item: int(item.get("number", 0)))
    if not uids or not images:
        return ()
    path = f"/app/images/{uids[0].removeprefix(_UID_PREFIX)}/{series['uid']}"
    return tuple(
        Slice(f"{path}/{images[index]['uid']}", f"Image {index + 1} of {len(images)}") for index in _chosen(images)
    )


def _chosen(images: Sequence[Resource]) -> list[int]:
    return sorted({0, len(images) // 2, len(images) - 1})


def _delivery(task: Resource, sources: CaseSources, zone: ZoneInfo) -> Delivery:
    state, state_words = _DELIVERY_STATES.get(str(task.get("status")), ("waiting", "Waiting to be sent"))
    recipients = [target(item) for item in task.get("restriction", {}).get("recipient", ())]
    channel = extension(extension(task, words.SO_RECIPIENT), "channel").get("valueCode", "")
    proof = next((str(item["valueString"]) for item in task.get("output", ()) if item.get("valueString")), "")
    patient = sources.patient
    names = [
        person(sources, item) or (person_name(patient) if item.startswith("Patient/") else "") for item in recipients
    ]
    return Delivery(
        recipient=", ".join(name for name in names if name) or "Recipient",
        channel=words.CHANNEL_WORDS.get(str(channel), str(channel)),
        state=state,
        state_words=state_words,
        when=show_time(str(task.get("lastModified", "")), zone) if state == "arrived" else "",
        proof=show_times_in(proof, zone) or (concept_text(task.get("statusReason")) if state == "missing" else ""),
    )
