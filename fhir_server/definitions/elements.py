"""The R4 element definitions: which elements a type has, of which types, how many of them.

https://hl7.org/fhir/R4/structuredefinition.html. The files in ``data/`` are made by ``generate.py``.
"""

import gzip
from collections.abc import Mapping
from functools import cache
from importlib import resources

import msgspec


class Element(msgspec.Struct, frozen=True, array_like=True):
    """One element of a type. A choice element is named ``value[x]`` and lists every type it may take.

    A backbone element's type is its path (``Patient.contact``), a contentReference's the path it points at.
    ``targets`` are the types a Reference may point at, ``binding`` the value set of a required binding.
    """

    name: str
    min: int
    many: bool
    types: tuple[str, ...]
    summary: bool = False
    targets: tuple[str, ...] = ()
    binding: str = ""

    @property
    def choice(self) -> bool:
        """Whether the element is a choice (``[x]``)."""
        return self.name.endswith("[x]")

    @property
    def variants(self) -> dict[str, str]:
        """The JSON names the element may have, each with its type; one entry unless it is a choice."""
        if not self.choice:
            return {self.name: self.types[0]}
        stem = self.name[:-3]
        return {stem + code[0].upper() + code[1:]: code for code in self.types}


def data_file(name: str) -> bytes:
    """Return the content of a file in ``data/``, unpacked if its name ends in ``.gz``."""
    raw = resources.files("fhir_server.definitions").joinpath("data", name).read_bytes()
    return gzip.decompress(raw) if name.endswith(".gz") else raw


@cache
def _all_elements() -> dict[str, tuple[Element, ...]]:
    return msgspec.json.decode(data_file("elements.json.gz"), type=dict[str, tuple[Element, ...]])


@cache
def elements(type_name: str) -> Mapping[str, Element]:
    """Return the elements of a resource, data type or backbone path (``Patient.contact``) by definition name.

    A choice is found both as ``value[x]`` and as ``value``. Raises KeyError for a type R4 does not have.
    """
    found: dict[str, Element] = {}
    for element in _all_elements()[type_name]:
        found[element.name] = element
        if element.choice:
            found[element.name[:-3]] = element
    return found


@cache
def json_elements(type_name: str) -> Mapping[str, tuple[Element, str]]:
    """Return element and type by the name used in JSON (``valueQuantity``), for a type as in ``elements``."""
    return {key: (element, code) for element in _all_elements()[type_name] for key, code in element.variants.items()}


def is_complex(type_name: str) -> bool:
    """Tell whether the type has elements of its own (every type but the primitives)."""
    return type_name in _all_elements()


RESOURCE_TYPES: frozenset[str] = frozenset(msgspec.json.decode(data_file("resource_types.json"), type=list[str]))
"""Every concrete resource type of R4."""
