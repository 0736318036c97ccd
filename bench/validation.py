"""Measure what one write costs before it reaches the store: ``python -m bench.validation``.

Validation by our walker and, beside it, by the R4B models of fhir.resources; extraction of every search parameter;
parsing of a search. One process, one core, a laboratory Observation of 900 bytes.
"""

import resource as rusage
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from fhir_server.definitions import RESOURCE_TYPES, compile_expression, search_parameters
from fhir_server.kernel.search_query import parse_search
from fhir_server.kernel.validation import validate

SECONDS = 2.0


def observation() -> dict[str, Any]:
    """Return a synthetic laboratory Observation."""
    coding = {"system": "http://loinc.org", "code": "2160-0", "display": "Creatinine"}
    return {
        "resourceType": "Observation",
        "id": "creatinine-1",
        "meta": {"profile": ["http://hl7.org/fhir/us/core/StructureDefinition/us-core-observation-lab"]},
        "status": "final",
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category"}]}],
        "code": {"coding": [coding], "text": "Creatinine"},
        "subject": {"reference": "Patient/1"},
        "effectiveDateTime": "2026-03-01T08:00:00-05:00",
        "issued": "2026-03-01T08:00:00.000-05:00",
        "performer": [{"reference": "Practitioner/1"}],
        "valueQuantity": {"value": Decimal("1.10"), "unit": "mg/dL", "system": "http://unitsofmeasure.org"},
        "referenceRange": [{"low": {"value": Decimal("0.6")}, "high": {"value": Decimal("1.3")}}],
    }


def rate(work: Callable[[], object]) -> float:
    """Return how often ``work`` runs in a second."""
    work()
    done, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < SECONDS:
        for _ in range(50):
            work()
        done += 50
    return done / spent


def resident_mib() -> int:
    """Return the largest resident set so far."""
    return rusage.getrusage(rusage.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Print the figures."""
    sample = observation()
    extract = [compile_expression(p.expression, "Observation") for p in search_parameters("Observation").values()]
    pairs = [("code", "http://loinc.org|2160-0"), ("patient", "Patient/1"), ("date", "ge2026"), ("_sort", "-date")]
    print(f"validate, walker         {rate(lambda: validate(sample)):10,.0f} Observations/s")
    print(f"extract {len(extract)} parameters    {rate(lambda: [f(sample) for f in extract]):10,.0f} Observations/s")
    print(f"parse_search, four pairs {rate(lambda: parse_search('Observation', pairs)):10,.0f} searches/s")
    for resource_type in RESOURCE_TYPES:
        validate({"resourceType": resource_type})
    print(f"resident, every type validated once: {resident_mib()} MiB")
    peer(sample)


def peer(sample: dict[str, Any]) -> None:
    """Print the same for fhir.resources, imported only now so that it weighs on nothing above."""
    from fhir.resources.R4B import get_fhir_model_class  # noqa: PLC0415 - its import is part of what is measured

    start = time.perf_counter()
    model: Any = get_fhir_model_class("Observation")
    print(f"fhir.resources, import of one model: {time.perf_counter() - start:.2f} s")
    print(f"validate, fhir.resources {rate(lambda: model.model_validate(sample)):10,.0f} Observations/s")
    absent = []
    for resource_type in sorted(RESOURCE_TYPES):
        try:
            get_fhir_model_class(resource_type)
        except ValueError:
            absent.append(resource_type)
    print(f"resident, every model loaded: {resident_mib()} MiB; R4 types without a model: {len(absent)}")


if __name__ == "__main__":
    main()
