"""The functions HL7 v2 rows may name."""

from pathlib import Path

from mappings.engine.library import Library
from mappings.hl7v2 import (
    attachments,
    dates,
    identifiers,
    keys,
    medication,
    narrative,
    primitives,
    results,
    scheduling,
    us_core,
)

FOLDER = Path(__file__).parent
"""Where the rows and tables of this mapping are."""

LIBRARY = Library(
    values={
        **primitives.VALUES,
        **medication.VALUES,
        "dateTime": dates.date_time,
        "unless_timed": dates.unless_timed,
        "date": dates.date_only,
        "birthTime": dates.birth_time,
        "instant": dates.instant,
        "time": dates.time_of_day,
    },
    frames={
        **primitives.FRAMES,
        **identifiers.FRAMES,
        **keys.FRAMES,
        **results.FRAMES,
        **attachments.FRAMES,
        **narrative.FRAMES,
        **medication.FRAMES,
        **scheduling.FRAMES,
        **us_core.FRAMES,
    },
    keys=keys.KEYS,
    folds=results.FOLDS,
)
