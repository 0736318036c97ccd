"""QIDO-RS over what is stored: studies by way of the ImagingStudy search, series and instances inside one study.

PS3.18 §10.6: https://dicom.nema.org/medical/dicom/current/output/chtml/part18/sect_10.6.html
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.dicomweb import dicomjson
from adapters.dicomweb.part10 import is_uid
from fhir_server.kernel import json
from fhir_server.kernel.errors import InvalidSearch
from fhir_server.kernel.search_query import parse_search
from fhir_server.store import imaging
from fhir_server.store.database import Transaction

Dataset = dict[str, Any]
Pairs = Sequence[tuple[str, str]]

_study_keys = ("StudyInstanceUID", "PatientID", "AccessionNumber", "StudyDate", "ModalitiesInStudy")
_series_keys = ("SeriesInstanceUID", "Modality", "SeriesNumber")
_instance_keys = ("SOPInstanceUID", "SOPClassUID", "InstanceNumber")
_max_limit = 1000
_default_limit = 100

_study_tags = (
    *("00080005", "00080020", "00080030", "00080050", "00080090", "00080201", "00081030", "00100010", "00100020"),
    *("00100021", "00100030", "00100040", "0020000D", "00200010"),
)
_series_tags = (
    "00080005",
    "00080060",
    "00080201",
    "0008103E",
    "0020000D",
    "0020000E",
    "00200011",
    "00400244",
    "00400245",
)
_instance_tags = (
    *("00080005", "00080016", "00080018", "00080201", "0020000D", "0020000E", "00200013"),
    *("00280008", "00280010", "00280011", "00280100"),
)


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query: values to match by keyword, extra tags to return (None: all of them), and the page."""

    match: dict[str, str]
    include: tuple[str, ...] | None
    limit: int
    offset: int


@dataclass(frozen=True, slots=True)
class Page:
    """One page of an answer; ``more`` tells that it is not the last."""

    rows: list[Dataset]
    more: bool


def parse(pairs: Pairs, keys: Sequence[str]) -> Query:
    """Return the query. Raises InvalidSearch naming the parameter that is unknown or malformed."""
    match: dict[str, str] = {}
    include: list[str] | None = []
    page = {"limit": _default_limit, "offset": 0}
    for name, value in pairs:
        if name in page:
            page[name] = _number(name, value)
        elif name == "includefield":
            include = None if include is None or value == "all" else [*include, *map(_tag, value.split(","))]
        elif name == "fuzzymatching":
            if value not in ("false", "true"):
                raise InvalidSearch("fuzzymatching is true or false.")
        else:
            keyword = _keyword(name)
            if keyword not in keys:
                near = difflib.get_close_matches(name, keys, n=1)
                hint = f" Did you mean {near[0]}?" if near else f" Known are {', '.join(keys)}."
                raise InvalidSearch(f"Unknown parameter '{name}'.{hint}")
            match[keyword] = value
    limit = min(page["limit"], _max_limit)
    return Query(match, None if include is None else tuple(include), limit, page["offset"])


def _number(name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 7:  # noqa: PLR2004 - millions are no page
        raise InvalidSearch(f"{name} is a number such as 50.")
    return int(value)


def _keyword(name: str) -> str:
    if len(name) == 8:  # noqa: PLR2004 - gggg and eeee
        from pydicom.datadict import keyword_for_tag  # noqa: PLC0415 - half a second the start need not wait for

        try:
            return keyword_for_tag(int(name, 16))
        except ValueError:
            return name
    return name


def _tag(name: str) -> str:
    if len(name) == 8 and all(letter in "0123456789abcdefABCDEF" for letter in name):  # noqa: PLR2004 - as above
        return name.upper()
    from pydicom.datadict import tag_for_keyword  # noqa: PLC0415 - as above

    tag = tag_for_keyword(name)
    if tag is None:
        raise InvalidSearch(f"includefield names no attribute we know: '{name}'.")
    return f"{tag:08X}"


async def studies(tx: Transaction, pairs: Pairs, base_url: str, endpoint: str) -> Page:
    """Return the studies the Subject may read that are stored here: the limit on access is in the search itself."""
    query = parse(pairs, _study_keys)
    wanted = min(query.offset + query.limit + 1, _max_limit)
    search = [("endpoint", endpoint), ("_count", str(max(wanted, 1))), ("_sort", "-started"), *_fhir_pairs(query.match)]
    found = await tx.reader.search(parse_search("ImagingStudy", search))
    more = found.next is not None or len(found.matches) > query.offset + query.limit
    chosen = found.matches[query.offset : query.offset + query.limit]
    headers = await imaging.study_headers(tx.connection, [stored.id for stored in chosen])
    rows = []
    for stored in chosen:
        if stored.id not in headers:
            continue
        text, series, instances = headers[stored.id]
        header, resource = json.decode(text), stored.resource()
        row = _pick(header, _study_tags, query.include)
        uid = dicomjson.text(header, "0020000D")
        codes = [coding["code"] for coding in resource.get("modality", ()) if "code" in coding]
        row |= {
            "00080061": {"vr": "CS", "Value": codes},
            "00081190": _url(f"{base_url}/studies/{uid}"),
            "00201206": {"vr": "IS", "Value": [series]},
            "00201208": {"vr": "IS", "Value": [instances]},
        }
        rows.append(dict(sorted(row.items())))
    return Page(rows, more)


def _fhir_pairs(match: dict[str, str]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for keyword, value in match.items():
        if keyword == "StudyInstanceUID":
            uids = [uid for uid in value.replace("\\", ",").split(",") if is_uid(uid)] or ["0"]
            pairs.append(("identifier", ",".join(f"urn:dicom:uid|urn:oid:{uid}" for uid in uids)))
        elif keyword == "AccessionNumber":
            pairs.append(("identifier", _literal(value)))
        elif keyword == "PatientID":
            pairs.append(("patient.identifier", _literal(value)))
        elif keyword == "ModalitiesInStudy":
            pairs.append(("modality", ",".join(map(_literal, value.replace("\\", ",").split(",")))))
        else:
            pairs += _dates(value)
    return pairs


def _literal(value: str) -> str:
    for letter in "\\|$,":
        value = value.replace(letter, "\\" + letter)
    return value


def _dates(value: str) -> list[tuple[str, str]]:
    low, dash, high = value.partition("-")
    if not dash:
        return [("started", _date(low))]
    return [("started", prefix + _date(day)) for prefix, day in (("ge", low), ("le", high)) if day]


def _date(value: str) -> str:
    if len(value) != len("yyyymmdd") or not value.isdigit():
        raise InvalidSearch("StudyDate is a date such as 20260302 or a range such as 20260101-20260331.")
    return f"{value[:4]}-{value[4:6]}-{value[6:]}"


async def series(tx: Transaction, study: tuple[str, str], pairs: Pairs, base_url: str) -> Page:
    """Return the series of one ``study`` (site, UID) that the Subject may read."""
    site, study_uid = study
    query = parse(pairs, _series_keys)
    rows = []
    for text, count in await imaging.first_of_each_series(tx.connection, site, study_uid):
        header = json.decode(text)
        uid = dicomjson.text(header, "0020000E")
        row = _pick(header, _series_tags, query.include)
        row["00081190"] = _url(f"{base_url}/studies/{study_uid}/series/{uid}")
        row["00201209"] = {"vr": "IS", "Value": [count]}
        if _matches(header, query.match):
            rows.append(dict(sorted(row.items())))
    rows.sort(key=lambda row: str(dicomjson.text(row, "00200011")).zfill(12))
    return _page(rows, query)


async def instances(
    tx: Transaction, study: tuple[str, str], series_uid: str | None, pairs: Pairs, base_url: str
) -> Page:
    """Return the instances of one ``study`` (site, UID) that the Subject may read, or of one of its series."""
    site, study_uid = study
    query = parse(pairs, (*_instance_keys, *(() if series_uid else _series_keys)))
    rows = []
    for one in await imaging.instances(tx.connection, site, study_uid, series_uid):
        header = json.decode(one.header)
        if not _matches(header, query.match):
            continue
        row = _pick(header, _instance_tags, query.include)
        row["00081190"] = _url(f"{base_url}/studies/{study_uid}/series/{one.series_uid}/instances/{one.sop_uid}")
        row["00083002"] = {"vr": "UI", "Value": [one.transfer_syntax]}
        rows.append(dict(sorted(row.items())))
    return _page(rows, query)


def _page(rows: list[Dataset], query: Query) -> Page:
    return Page(rows[query.offset : query.offset + query.limit], len(rows) > query.offset + query.limit)


def _matches(header: Dataset, match: dict[str, str]) -> bool:
    for keyword, wanted in match.items():
        found = dicomjson.text(header, _tag(keyword))
        if wanted and found not in wanted.replace("\\", ",").split(","):
            return False
    return True


def _pick(header: Dataset, tags: Iterable[str], include: tuple[str, ...] | None) -> Dataset:
    if include is None:
        return dict(header)
    return {tag: header[tag] for tag in (*tags, *include) if tag in header}


def _url(address: str) -> Dataset:
    return {"vr": "UR", "Value": [address]}
