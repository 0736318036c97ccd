"""Read the element definitions out of the npm package, as R4 has them.

https://hl7.org/fhir/R4/elementdefinition.html
"""

import base64
import hashlib
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

Json = dict[str, Any]
_folder = "package/dist/fhir/r4/"
_system_type = "http://hl7.org/fhirpath/System."
_fhir_type = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
_everywhere = frozenset({"id", "extension", "modifierExtension"})
_longest_id = 64
_required_in_r4 = frozenset({"EvidenceVariable.characteristic"})  # the package carries R5's backbone, where it is not


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


def official_structures(package: Package) -> list[Json]:
    """Return the resources and complex types with R4's own elements only.

    The package's publisher has put elements of its own and of R5 into the profiles (Meta.project, Binary.url, much of
    ResearchStudy and EvidenceVariable, the type SubscriptionStatus). HL7's data elements in the same package are
    untouched: they decide what stays, and what it looks like.
    """
    structures = package.resources("profiles-types.json", "StructureDefinition")
    structures += package.resources("profiles-resources.json", "StructureDefinition")
    official = {
        element["path"]: element
        for definition in package.resources("dataelements.json", "StructureDefinition")
        for element in definition["snapshot"]["element"]
    }
    types = {path.partition(".")[0] for path in official}
    kept = []
    for structure in structures:
        if structure.get("derivation") == "constraint" or structure["kind"] == "primitive-type":
            continue
        is_quantity = structure.get("baseDefinition", "").endswith("/Quantity")
        if not (structure["type"] in types or structure["type"] in {"Element", "BackboneElement"} or is_quantity):
            continue
        if not is_quantity:
            root, *elements = structure["snapshot"]["element"]
            structure["snapshot"]["element"] = [root, *_official_elements(elements, official)]
        kept.append(structure)
    return kept


def _official_elements(elements: list[Json], official: dict[str, Json]) -> Iterable[Json]:
    parents = {path.rpartition(".")[0] for path in official}
    ancestors = {parent[:at] for parent in parents for at in range(len(parent) + 1) if parent[at : at + 1] in {"", "."}}
    type_name = elements[0]["path"].partition(".")[0]
    dropped: set[str] = set()
    for element in elements:
        path = element["path"]
        parent, _, name = path.rpartition(".")
        genuine = official.get(path)
        if genuine is not None and genuine["max"] != "0":
            yield genuine
        elif parent not in dropped and (
            genuine is not None
            or name in _everywhere
            or path in ancestors
            or "contentReference" in element
            or len(f"de-{path}") > _longest_id  # such data elements could not be given an id, so there are none
        ):
            yield element | {"min": 1} if path in _required_in_r4 else element
        else:
            dropped.add(path)
    present = {element["path"] for element in elements}
    yield from (e for path, e in official.items() if path.startswith(f"{type_name}.") and path not in present)


def element_rows(structures: list[Json]) -> dict[str, list[list[Any]]]:
    """Return for each type and backbone path the rows that ``elements.Element`` is read from."""
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
    return [*row, required_binding(element)]


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


def required_binding(element: Json) -> str:
    """Return the value set a code element is bound to with strength required; empty where there is none."""
    binding = element.get("binding", {})
    codes = {code["code"] for code in element.get("type", ())}
    if binding.get("strength") != "required" or "code" not in codes:
        return ""
    return str(binding.get("valueSet", "")).partition("|")[0]
