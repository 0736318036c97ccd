"""Makes an ImagingStudy of the headers of a study, by the rows of ``imaging_study.yaml``.

https://hl7.org/fhir/R4/imagingstudy.html
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from mappings.dicom.conversions import CONVERSIONS, Context, Conversion

MAX_LISTED_INSTANCES = 500
_namespace = uuid.UUID("0c9a1b52-7f2f-5f1e-9b0a-3d1f6b0f4f11")
_repeating = frozenset({"identifier"})


@dataclass(frozen=True, slots=True)
class SeriesHeaders:
    """One series: the DICOM JSON of its instances, in order; with many instances the first one is enough."""

    headers: Sequence[dict[str, Any]]
    count: int


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the mapping."""

    element: str
    tags: tuple[str, ...]
    convert: Conversion


def imaging_study_id(site: str, study_uid: str) -> str:
    """Return the id of a site's study: always the same for the same study."""
    return str(uuid.uuid5(_namespace, f"{site}|{study_uid}"))


def endpoint_id(base_url: str) -> str:
    """Return the id of the Endpoint at ``base_url``."""
    return str(uuid.uuid5(_namespace, base_url))


@cache
def rows(level: str) -> tuple[Row, ...]:
    """Return the rows of ``study``, ``series`` or ``instance``."""
    document = yaml.safe_load(files(__package__).joinpath("imaging_study.yaml").read_text(encoding="utf-8"))
    return tuple(Row(row["element"], tuple(row["tags"]), CONVERSIONS[row["with"]]) for row in document[level])


def imaging_study(
    site: str, study_uid: str, series: Sequence[SeriesHeaders], *, patient: str, endpoint: str, context: Context
) -> dict[str, Any]:
    """Return the ImagingStudy; instances are listed when the study has at most ``MAX_LISTED_INSTANCES``."""
    total = sum(one.count for one in series)
    listed = [_series(one, context, instances=total <= MAX_LISTED_INSTANCES) for one in series]
    listed.sort(key=lambda one: (one.get("number", 0), one["uid"]))
    modalities = {one["modality"]["code"]: one["modality"] for one in listed}
    return {
        "resourceType": "ImagingStudy",
        "id": imaging_study_id(site, study_uid),
        "status": "available",
        "subject": {"reference": patient},
        **_apply(rows("study"), series[0].headers[0], context),
        "modality": list(modalities.values()),
        "endpoint": [{"reference": endpoint}],
        "numberOfSeries": len(series),
        "numberOfInstances": total,
        "series": listed,
    }


def endpoint(base_url: str) -> dict[str, Any]:
    """Return the Endpoint that says where a study's DICOMweb is."""
    payload = "http://dicom.nema.org/resources/ontology/DCM"
    return {
        "resourceType": "Endpoint",
        "id": endpoint_id(base_url),
        "status": "active",
        "connectionType": {
            "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
            "code": "dicom-wado-rs",
            "display": "DICOM WADO-RS",
        },
        "name": "Konsil DICOMweb",
        "payloadType": [{"coding": [{"system": payload, "code": "113014", "display": "DICOM Study"}]}],
        "payloadMimeType": ["application/dicom"],
        "address": base_url,
    }


def _series(series: SeriesHeaders, context: Context, *, instances: bool) -> dict[str, Any]:
    found = {**_apply(rows("series"), series.headers[0], context), "numberOfInstances": series.count}
    if instances:
        found["instance"] = [_apply(rows("instance"), header, context) for header in series.headers]
    return found


def _apply(mapping: tuple[Row, ...], header: dict[str, Any], context: Context) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for row in mapping:
        value = row.convert([header.get(tag, {}).get("Value") or [] for tag in row.tags], context)
        if value in (None, []):
            continue
        if row.element in _repeating:
            found.setdefault(row.element, []).append(value)
        else:
            found[row.element] = value
    return found
