"""Places on earth and how far they are from each other.

https://hl7.org/fhir/R4/location.html#search. The distance is that on a sphere (haversine), within 0.5 % of the true
one; a band of latitudes, for which there is an index, narrows what it is computed for.
"""

import math
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Double, FromClause, Numeric, and_, cast, func, literal, or_

from fhir_server.definitions import TypedValue
from fhir_server.kernel.search_values import NearValue

_radius_m = 6_371_008.8  # the mean one
_slack = 1.001  # what rounding may take from the band must not be lost


def positions(values: list[TypedValue]) -> list[Decimal]:
    """Return latitude and longitude of the first position that is one on earth."""
    for value, _ in values:
        latitude, longitude = value.get("latitude"), value.get("longitude")
        if _within(latitude, 90) and _within(longitude, 180):
            return [Decimal(latitude), Decimal(longitude)]
    return []


def _within(degrees: Any, most: int) -> bool:
    return isinstance(degrees, int | Decimal) and -most <= degrees <= most


def near(table: FromClause, values: tuple[NearValue, ...]) -> ColumnElement[bool]:
    """Return the condition that the position is within the distance of one of the places."""
    return or_(*(_near(table.c.p_near, value) for value in values))


def _near(position: ColumnElement[Any], value: NearValue) -> ColumnElement[bool]:
    distance_m = float(min(value.distance_m, Decimal(math.pi * _radius_m)))
    band = Decimal(math.degrees(distance_m / _radius_m) * _slack)
    latitude, longitude = (cast(position[place], Double) for place in (1, 2))
    here_latitude, here_longitude = (literal(float(part), Double) for part in (value.latitude, value.longitude))
    half_chord = func.power(func.sin(func.radians(latitude - here_latitude) / 2), 2) + func.cos(
        func.radians(latitude)
    ) * func.cos(func.radians(here_latitude)) * func.power(func.sin(func.radians(longitude - here_longitude) / 2), 2)
    away_m = 2 * _radius_m * func.asin(func.sqrt(func.least(half_chord, 1.0)))
    return and_(
        position[1].between(literal(value.latitude - band, Numeric), literal(value.latitude + band, Numeric)),
        away_m <= literal(distance_m * (1 + 1e-9), Double),
    )
