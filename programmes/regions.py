"""Name a place of residence as an ISO 3166-2 code (``US-RI``), from an address as people write it.

https://hl7.org/fhir/R4/datatypes.html#Address
"""

import csv
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

_countries: Final = {
    "USA": "US",
    "UNITED STATES": "US",
    "UNITED STATES OF AMERICA": "US",
    "CAN": "CA",
    "CANADA": "CA",
    "MEX": "MX",
    "GBR": "GB",
    "DEU": "DE",
    "FRA": "FR",
}


@cache
def _states() -> dict[str, str]:
    text = (resources.files("programmes") / "tables" / "us-states.csv").read_text("utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    return {row["name"].upper(): row["code"] for row in rows} | {row["code"]: row["code"] for row in rows}


def region(address: Mapping[str, Any], default_country: str) -> str | None:
    """Return the region of an address; None when it is not known well enough to decide on it.

    Within the United States the state must be one we know; elsewhere the country alone is enough.
    """
    written = str(address.get("country", "")).strip().upper() or default_country
    country = _countries.get(written, written)
    state = str(address.get("state", "")).strip().upper()
    if country != "US":
        return f"{country}-{state}" if state else country
    code = _states().get(state)
    return f"US-{code}" if code else None
