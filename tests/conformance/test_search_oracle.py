"""The SQL against a slow, obviously right evaluation of the specification's text, over generated resources and queries.

https://hl7.org/fhir/R4/search.html. ``KONSIL_SEARCH_PAIRS`` says how many pairs of resource set and query are tried
(default 4,000), ``KONSIL_SEARCH_SEED`` where they begin; a failure names the seed that repeats it.
"""

import os
import random
import unicodedata
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from fhir_server.kernel import json
from fhir_server.kernel.search_query import parse_search
from fhir_server.kernel.subject import Subject

PAIRS = int(os.environ.get("KONSIL_SEARCH_PAIRS", "4000"))
SEED = int(os.environ.get("KONSIL_SEARCH_SEED", "1"))
QUERIES_PER_SET = 100
UCUM, GENDER = "http://unitsofmeasure.org", "http://hl7.org/fhir/administrative-gender"

# ---------------------------------------------------------------------------------------------- what may be in it

FAMILIES = ["Müller", "Muller", "MULLERSON", "O'Neil", "de la Cruz", "Cruz", "Åström", "ann", "Anna-Maria", "=x"]
DATES = ["2023", "2024", "2024-02", "2024-02-29", "2024-03", "2024-03-01", "2024-12-31", "2024-03-01T08:30:00Z"]
DATES += ["2024-03-01T08:30:00+02:00", "2024-02-29T23:30:00-01:00", "2024-03-01T00:00:00Z", "2024-03-01T08:30:15.250Z"]
SYSTEMS, CODES = ["urn:a", "urn:b", None], ["x", "y", "x1"]
NUMBERS = ["5", "5.0", "5.00", "4.95", "5.04", "5.05", "5.4", "0.005", "5000", "5e3", "99.5", "1e2", "-3"]
UNITS = {"mg": ("g", Fraction(1, 1000)), "g": ("g", Fraction(1)), "ug": ("g", Fraction(1, 10**6))}
UNITS |= {"mL": ("m3", Fraction(1, 10**6)), "L": ("m3", Fraction(1, 1000))}
PREFIXES = ["", "", "", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]
IDS = ["p1", "p2", "p3"]


class Maker:
    """Makes resources and queries from one source of chance."""

    def __init__(self, seed):
        self.random = random.Random(seed)  # noqa: S311 - made-up resources, not secrets
        self.one = self.random.choice

    def maybe(self, share=0.6):
        return self.random.random() < share

    def some(self, make, most=2):
        return [make() for _ in range(self.random.randint(1, most))]

    def coding(self):
        system = self.one(SYSTEMS)
        return {"code": self.one(CODES)} | ({"system": system} if system else {})

    def concept(self):
        return {"coding": self.some(self.coding)}

    def quantity(self):
        value = {"value": Decimal(self.one(NUMBERS))}
        if self.maybe(0.7):
            value |= {
                "code": self.one(["mg", "mg", *UNITS, "foo"]),
                "system": self.one([UCUM, UCUM, UCUM, "urn:local"]),
            }
        return value

    def period(self):
        start, end = sorted([self.one(DATES), self.one(DATES)], key=span)
        return {name: at for name, at in (("start", start), ("end", end)) if self.maybe(0.8)} or {"start": start}

    def patient(self, id):
        made = {"resourceType": "Patient", "id": id}
        if self.maybe(0.8):
            made["name"] = [{"family": self.one(FAMILIES), "given": self.some(lambda: self.one(FAMILIES))}]
        if self.maybe():
            made["gender"] = self.one(["male", "female"])
        if self.maybe():
            made["birthDate"] = self.one([date for date in DATES if "T" not in date])
        if self.maybe():
            made["identifier"] = self.some(self.identifier)
        return made

    def identifier(self):
        system = self.one(SYSTEMS)
        return {"value": self.one(CODES)} | ({"system": system} if system else {})

    def observation(self, id):
        made = {"resourceType": "Observation", "id": id, "status": self.one(["final", "amended"])}
        made["code"] = self.concept()
        if self.maybe(0.8):
            made["subject"] = {"reference": f"{self.one(['Patient', 'Patient', 'Group'])}/{self.one(IDS)}"}
        if self.maybe(0.8):
            made |= {"effectivePeriod": self.period()} if self.maybe(0.4) else {"effectiveDateTime": self.one(DATES)}
        made |= self.value()
        if self.maybe(0.5):
            made["component"] = self.some(lambda: {"code": self.concept(), **self.value()}, 3)
        return made

    def value(self):
        return self.one([{}, {"valueQuantity": self.quantity()}, {"valueCodeableConcept": self.concept()}])

    def token(self):
        code, system = self.one(CODES), self.one(["urn:a", "urn:b", "urn:c"])
        return self.one([code, f"{system}|{code}", f"|{code}", f"{system}|"])

    def number(self):
        return self.one(PREFIXES) + self.one(NUMBERS)

    def amount(self):
        unit = self.one(
            [
                "",
                "",
                "",
                f"|{UCUM}|mg",
                f"|{UCUM}|{self.one([*UNITS, 'foo'])}",
                f"||{self.one([*UNITS])}",
                "|urn:local|mg",
            ]
        )
        return self.number() + unit

    def date(self):
        return self.one([prefix for prefix in PREFIXES if prefix != "ap"]) + self.one(DATES)

    def text(self):
        word = self.one(FAMILIES)
        start = self.random.randrange(len(word))
        return self.one([word, word.lower(), word.upper(), word[:3], word[start:]])

    def reference(self):
        return self.one([self.one(IDS), f"Patient/{self.one(IDS)}", f"Group/{self.one(IDS)}"])

    def criterion(self, resource_type, depth=0):
        """Return a parameter (with modifier) and a value."""
        choices = PATIENT if resource_type == "Patient" else OBSERVATION
        name, make = self.one(choices)
        if make is None:
            return f"{name}:missing", self.one(["true", "false"])
        if name == "chain":
            inner, value = self.criterion("Patient", depth + 1)
            return f"subject:Patient.{inner}", value
        if name == "_has":
            inner, value = self.criterion("Observation", depth + 1)
            nested = depth or inner.startswith("subject")
            return ("_id", "p1") if nested else (f"_has:Observation:patient:{inner}", value)
        values = [make(self) for _ in range(2 if self.maybe(0.2) and not name.endswith(":in") else 1)]
        return name, ",".join(values)

    def query(self, resource_type):
        return [self.criterion(resource_type) for _ in range(self.one([1, 1, 1, 2]))]


def _gender(maker):
    return maker.one(["male", f"{GENDER}|male", f"{GENDER}|", f"{GENDER}|x", "urn:a|male", "|female"])


def _pair(maker):
    return f"{maker.token()}${maker.amount()}"


def _twice(maker):
    return f"{maker.token()}${maker.token()}"


PATIENT = [
    ("name", Maker.text), ("name:exact", Maker.text), ("name:contains", Maker.text), ("family", Maker.text),
    ("given:contains", Maker.text), ("gender", _gender), ("gender:not", _gender), ("birthdate", Maker.date),
    ("birthdate", Maker.date), ("identifier", Maker.token), ("identifier:not", Maker.token), ("name", None),
    ("gender:in", lambda _: "http://hl7.org/fhir/ValueSet/administrative-gender"), ("birthdate", None),
    ("_has", Maker.text),
]  # fmt: skip
OBSERVATION = [
    ("code", Maker.token), ("code:not", Maker.token), ("combo-code", Maker.token), ("value-concept", Maker.token),
    ("date", Maker.date), ("date", Maker.date), ("date", None), ("value-quantity", Maker.amount),
    ("component-value-quantity", Maker.amount), ("combo-value-quantity", Maker.amount), ("value-quantity", None),
    ("subject", Maker.reference), ("patient", lambda maker: maker.one(IDS)), ("subject", None),
    ("code-value-quantity", _pair), ("component-code-value-quantity", _pair), ("combo-code-value-quantity", _pair),
    ("combo-code-value-concept", _twice), ("code-value-concept", _twice), ("combo-code-value-quantity", None),
    ("status", lambda maker: maker.one(["final", "http://hl7.org/fhir/observation-status|amended"])),
    ("chain", Maker.text),
]  # fmt: skip

# ------------------------------------------------------------------------------------- what the specification says


def span(text):
    """A date is the span of time it leaves open, [low, high)."""
    if "T" in text:
        low = datetime.fromisoformat(text).astimezone(UTC)
        return low, low + (timedelta(milliseconds=1) if "." in text else timedelta(seconds=1))
    parts = [int(part) for part in text.split("-")]
    low = datetime(*[*parts, 1, 1][:3], tzinfo=UTC)
    if len(parts) == 3:
        return low, low + timedelta(days=1)
    year, month = (parts[0] + 1, 1) if len(parts) == 1 else (parts[0] + parts[1] // 12, parts[1] % 12 + 1)
    return low, datetime(year, month, 1, tzinfo=UTC)


FOREVER = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def spans(resource):
    if "birthDate" in resource:
        return [span(resource["birthDate"])]
    if "effectiveDateTime" in resource:
        return [span(resource["effectiveDateTime"])]
    if "effectivePeriod" in resource:
        period = resource["effectivePeriod"]
        low = span(period["start"])[0] if "start" in period else FOREVER[0]
        return [(low, span(period["end"])[1] if "end" in period else FOREVER[1])]
    return []


def prefixed(text):
    return (text[:2], text[2:]) if text[:2] in PREFIXES[3:] else ("eq", text)


def date_matches(target, text):
    """The table of prefixes: https://hl7.org/fhir/R4/search.html#prefix."""
    prefix, value = prefixed(text)
    low, high = span(value)
    contained = low <= target[0] and target[1] <= high
    above, below = target[1] > high, target[0] < low
    return {
        "eq": contained, "ne": not contained, "gt": above, "lt": below, "ge": above or contained,
        "le": below or contained, "sa": target[0] >= high, "eb": target[1] <= low,
    }[prefix]  # fmt: skip


def number_matches(value, text, factor=Fraction(1)):
    """With eq, ne and ap the digits written are a range; every other prefix means the exact number."""
    prefix, written = prefixed(text)
    exact = Decimal(written)
    last_digit = Fraction(10) ** exact.as_tuple().exponent
    asked = Fraction(exact) * factor
    half = last_digit / 2 * factor
    near = max(half, abs(asked) / 10)
    within = asked - half <= value < asked + half
    return {
        "eq": within, "ne": not within, "gt": value > asked, "lt": value < asked, "ge": value >= asked,
        "le": value <= asked, "sa": value > asked, "eb": value < asked, "ap": asked - near <= value < asked + near,
    }[prefix]  # fmt: skip


def quantity_matches(quantity, text):
    number, *unit = text.split("|")
    system, code = unit or ("", "")
    has = quantity.get("system", ""), quantity.get("code", "")
    if system == UCUM and code in UNITS:
        if has[0] != UCUM or has[1] not in UNITS or UNITS[has[1]][0] != UNITS[code][0]:
            return False
        return number_matches(Fraction(quantity["value"]) * UNITS[has[1]][1], number, UNITS[code][1])
    if system and has != (system, code):
        return False
    if code and not system and has[1] != code:
        return False
    return number_matches(Fraction(quantity["value"]), number)


def token_matches(pair, text):
    system, code = pair
    if "|" not in text:
        return code == text
    asked_system, asked_code = text.split("|")
    return system == (asked_system or None) and asked_code in ("", code)


def codings(concepts):
    return [(c.get("system"), c["code"]) for concept in concepts for c in concept["coding"]]


def fold(text):
    plain = unicodedata.normalize("NFKD", text)
    return "".join(char for char in plain if not unicodedata.combining(char)).casefold()


def texts(resource, code):
    parts = resource.get("name", [{}])[0]
    given = parts.get("given", []) if code != "family" else []
    return given + ([parts["family"]] if "family" in parts and code != "given" else [])


def parts_of(resource, code):
    """The parts of an Observation a composite looks at."""
    whole, components = [resource], resource.get("component", [])
    return components if code.startswith("component") else whole + components if code.startswith("combo") else whole


def values(resource, code):  # noqa: PLR0911 - a table of parameters, one return for each kind
    """What a parameter looks at, with the test for it."""
    observation = parts_of(resource, code)
    if code in ("code", "combo-code"):
        return codings([part["code"] for part in observation]), token_matches
    if code.endswith("code-value-quantity") or code == "code-value-quantity":
        return [part for part in observation if "valueQuantity" in part], pair_matches(quantity_part)
    if code.endswith("code-value-concept"):
        return [part for part in observation if "valueCodeableConcept" in part], pair_matches(concept_part)
    if code.endswith("value-quantity"):
        return [part["valueQuantity"] for part in observation if "valueQuantity" in part], quantity_matches
    if code == "value-concept":
        return codings([resource[name] for name in ("valueCodeableConcept",) if name in resource]), token_matches
    if code in ("date", "birthdate"):
        return spans(resource), date_matches
    if code == "identifier":
        return [(one.get("system"), one["value"]) for one in resource.get("identifier", [])], token_matches
    if code in ("gender", "status"):
        return [resource[code]] if code in resource else [], code_matches
    if code in ("subject", "patient"):
        found = [resource["subject"]["reference"]] if "subject" in resource else []
        return [one for one in found if code == "subject" or one.startswith("Patient/")], reference_matches
    return texts(resource, code), lambda value, text: fold(value).startswith(fold(text))


def code_matches(value, text):
    """An element of type code has the system of the value set it is bound to."""
    system, _, code = text.rpartition("|")
    own = {"male": GENDER, "female": GENDER}.get(value, "http://hl7.org/fhir/observation-status")
    return code in ("", value) and system in ("", own) and bool(system or code)


def reference_matches(value, text):
    return value == text or ("/" not in text and value.partition("/")[2] == text)


def pair_matches(second):
    def matches(part, text):
        code, value = text.split("$")
        return any(token_matches(one, code) for one in codings([part["code"]])) and second(part, value)

    return matches


def quantity_part(part, text):
    return quantity_matches(part["valueQuantity"], text)


def concept_part(part, text):
    return any(token_matches(one, text) for one in codings([part["valueCodeableConcept"]]))


def matches(resource, name, text, everyone):
    if name == "_id":
        return resource["id"] in text.split(",")
    if name.startswith("_has:"):
        others = [one for one in everyone if one.get("subject", {}).get("reference") == f"Patient/{resource['id']}"]
        return any(matches(one, name.split(":", 3)[3], text, everyone) for one in others)
    if name.startswith("subject:Patient."):
        target = resource.get("subject", {}).get("reference")
        known = [one for one in everyone if f"{one['resourceType']}/{one['id']}" == target == f"Patient/{one['id']}"]
        return any(matches(one, name.removeprefix("subject:Patient."), text, everyone) for one in known)
    code, _, modifier = name.partition(":")
    found, test = values(resource, code)
    if modifier == "missing":
        return (text == "true") is (not found)
    if modifier == "in":
        return bool(found)
    if modifier == "exact":
        test = str.__eq__
    if modifier == "contains":
        test = lambda value, part: fold(part) in fold(value)  # noqa: E731 - one line says it
    any_of = any(test(value, one) for value in found for one in text.split(","))
    return not any_of if modifier == "not" else any_of


# ---------------------------------------------------------------------------------------------------- the comparison


@pytest.mark.timeout(0)
async def test_the_database_finds_what_the_specification_says(database):
    subject = Subject.system("tests", "system/*.cruds")
    for seed in range(SEED, SEED + max(PAIRS // QUERIES_PER_SET, 1)):
        maker = Maker(seed)
        resources = [maker.patient(id) for id in IDS] + [maker.observation(f"o{n}") for n in range(8)]
        async with database.transaction(subject) as tx:
            for resource in resources:
                await tx.writer.update(resource)
        async with database.reading(subject) as reader:
            for _ in range(QUERIES_PER_SET):
                resource_type = maker.one(["Patient", "Observation", "Observation"])
                query = maker.query(resource_type)
                expected = {
                    one["id"] for one in resources
                    if one["resourceType"] == resource_type and all(matches(one, *pair, resources) for pair in query)
                }  # fmt: skip
                found = {one.id for one in (await reader.search(parse_search(resource_type, query))).matches}
                wrong = [one for one in resources if one["id"] in found ^ expected]
                assert found == expected, f"KONSIL_SEARCH_SEED={seed}: {query} on {json.encode_text(wrong)}"
