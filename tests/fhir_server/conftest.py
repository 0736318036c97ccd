"""Resources made from the element definitions: valid, of any type, the same for the same seed."""

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from fhir_server.definitions import Element, elements, is_complex, json_elements
from fhir_server.definitions.elements import data_file

_primitives: dict[str, tuple[Any, ...]] = {
    "base64Binary": ("SGVsbG8=",),
    "boolean": (True, False),
    "canonical": ("http://example.org/definition|1.0",),
    "code": ("en", "text"),
    "date": ("2024", "2024-02", "2024-02-29"),
    "dateTime": ("2024", "2024-02-29", "2024-02-29T10:30:00Z", "2024-02-29T23:59:59.123+02:00"),
    "decimal": (Decimal("1.00"), Decimal("-0.5"), 7),
    "id": ("a-1.b",),
    "instant": ("2024-02-29T10:30:00.123Z", "2024-02-29T10:30:00+05:30"),
    "integer": (0, -3, 12),
    "markdown": ("# A *text*\nof two lines",),
    "oid": ("urn:oid:1.2.3",),
    "positiveInt": (1, 5),
    "string": ("words", "Ünïcode, with | and $"),
    "time": ("10:30:00",),
    "unsignedInt": (0, 9),
    "uri": ("http://example.org/a", "urn:oid:1.2.3"),
    "url": ("http://example.org/a",),
    "uuid": ("urn:uuid:c757873d-ec9a-4326-a141-556f43239520",),
    "xhtml": ('<div xmlns="http://www.w3.org/1999/xhtml">words</div>',),
}
_codes = msgspec.json.decode(data_file("codes.json.gz"))
_never = {"contained", "extension", "modifierExtension", "id"}
_deepest = 4


class Sampler:
    def __init__(self, seed: str, share: float) -> None:
        self.random = random.Random(seed)  # noqa: S311 - samples, not secrets
        self.share = share

    def resource(self, resource_type: str) -> dict[str, Any]:
        return {"resourceType": resource_type, "id": "sample-1", **self.object(resource_type, 0)}

    def object(self, type_name: str, depth: int) -> dict[str, Any]:
        if type_name == "Reference":
            return {"reference": "Patient/p-1"}
        if type_name == "Extension":
            return {"url": "http://example.org/extension", "valueString": "words"}
        made: dict[str, Any] = {}
        for element in dict.fromkeys(elements(type_name).values()):
            if element.name not in _never and (element.min or self.wanted(element, depth)):
                key, code = self.random.choice(sorted(element.variants.items()))
                value = self.values(element, code, depth)
                if value is not None:
                    made[key] = value
        return made or self.smallest(type_name)

    def smallest(self, type_name: str) -> dict[str, Any]:
        """Return the first primitive element, which is no more than an object needs."""
        for key, (element, code) in json_elements(type_name).items():
            if key not in _never and not is_complex(code):
                return {key: self.values(element, code, 0)}
        key, (element, code) = next(item for item in json_elements(type_name).items() if item[0] not in _never)
        return {key: self.values(element, code, _deepest)}

    def wanted(self, element: Element, depth: int) -> bool:
        if depth >= _deepest and any(map(is_complex, element.types)):
            return False
        return self.random.random() < self.share / (1 + depth / 2)

    def values(self, element: Element, code: str, depth: int) -> Any:
        if not element.many:
            return self.value(element, code, depth)
        found = [self.value(element, code, depth) for _ in range(self.random.randint(1, 2))]
        return [value for value in found if value is not None] or None

    def value(self, element: Element, code: str, depth: int) -> Any:
        if code == "Reference":
            target = self.random.choice(element.targets or ("Patient",))
            return {"reference": f"{target}/t-1"}
        if code == "Resource":
            return {"resourceType": "Basic", "code": {"text": "words"}}
        if code == "code" and element.binding in _codes:
            return self.random.choice(_codes[element.binding])
        if is_complex(code):
            return self.object(code, depth + 1)
        return self.random.choice(_primitives[code])


@pytest.fixture(scope="session")
def sample() -> Callable[..., dict[str, Any]]:
    """Return a maker of resources: ``sample(type, seed, share)``, ``share`` of the optional elements present."""

    def make(resource_type: str, seed: int = 0, share: float = 0.5) -> dict[str, Any]:
        return Sampler(f"{resource_type}/{seed}", share).resource(resource_type)

    return make
