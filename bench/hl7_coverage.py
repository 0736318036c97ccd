"""Say which fields of the v2-to-FHIR guide are implemented, replaced by ours, or not, and why: ``make hl7-coverage``.

They stand in ``hl7_guide_rows.yaml`` as field numbers by segment and resource, several rows of one field counted once;
whether one is implemented is read from the mapping itself. Fails when a field is not accounted for.
https://hl7.org/fhir/uv/v2mappings/segment_maps.html
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mappings.engine.mapping import load_base, read_yaml
from mappings.engine.rows import Row, RowMap
from mappings.hl7v2.library import FOLDER

_GUIDE = Path(__file__).parent / "hl7_guide_rows.yaml"


def implemented(maps: Mapping[str, RowMap], spec: Mapping[str, Any]) -> set[tuple[str, int]]:
    """Return every (segment, field) that some row or plan item reads, in ``from``, ``when`` or its id."""
    found: set[tuple[str, int]] = set()
    for row_map in maps.values():
        if row_map.folder == "datatypes":
            continue
        for row in row_map.rows:
            found |= _reads(row, row_map.reads)
    for message in spec.values():
        for item in message["resources"]:
            found |= _named(str(item.get("when", "")))
    return found


def _reads(row: Row, own: str) -> set[tuple[str, int]]:
    by_id = re.match(rf"{own.lower()}-?(\d+)", row.id)
    named = {(own, int(by_id[1]))} if by_id else set()
    return named | _named(f"{row.source} {row.when}") | ({(own, 0)} if row.source is None else set())


def _named(text: str) -> set[tuple[str, int]]:
    return {(segment, int(number)) for segment, number in re.findall(r"\b([A-Z][A-Z0-9]{2})-(\d+)", text)}


def main() -> int:
    """Print each segment's rows and the share; return how many are not accounted for."""
    base = load_base(FOLDER)
    known = implemented(base.maps, base.messages)
    counts = {"implemented": 0, "replaced": 0, "not": 0, "unaccounted": 0}
    for name, entry in read_yaml(_GUIDE).items():
        segment = name.split(".")[0]
        ours, left_out = entry.get("ours", {}), entry.get("not", {})
        lines = []
        for number in entry["fields"]:
            if number in left_out:
                state, reason = "not", left_out[number]
            elif number in ours:
                state, reason = "replaced", ours[number]
            else:
                done = (segment, number) in known or number in entry.get("functions", {})
                state, reason = "implemented" if done else "unaccounted", ""
            counts[state] += 1
            if state != "implemented":
                lines.append(f"    {segment}-{number:<3} {state:12} {reason}")
        kept = len(entry["fields"]) - len(lines)
        print(f"{name:28} {kept:3} of {len(entry['fields']):3} as the guide says{' (ours)' * ('origin' in entry)}")
        print(*lines, sep="\n", end="\n" if lines else "")
    mapped, everything = counts["implemented"] + counts["replaced"], sum(counts.values())
    print(f"\n{counts}\n{mapped} of {everything} fields are mapped: {100 * mapped / everything:.1f} %")
    return counts["unaccounted"]


if __name__ == "__main__":
    sys.exit(main())
