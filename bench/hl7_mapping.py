"""Measure HL7 v2 parsing and mapping, one core, no database: ``python -m bench.hl7_mapping``.

Parse alone, and parse + map + serialise, of an ADT^A01 with every segment we map and of an ORU^R01 with sixty results.
Each figure is the best of three runs of process time: what the machine's other work takes does not count.
"""

import time
from collections.abc import Callable

from adapters.hl7v2.convert import convert
from adapters.hl7v2.site_mapping import SiteMapping
from adapters.hl7v2.tokenizer import Message
from fhir_server.kernel.json import encode

RUNS = 3
SECONDS = 1.0
SITE = SiteMapping.from_config(
    "bench",
    {
        "zone": "America/New_York",
        "mrn": ["LAKESIDE"],
        "authorities": {
            "LAKESIDE": {
                kind: f"https://lakeside.example/{kind.lower()}" for kind in ("MR", "VN", "AN", "PLAC", "FILL", "NIIP")
            }
        },
    },
)
ADT = (
    r"""
MSH|^~\&|EPICADT|LAKESIDE|KONSIL|HARBOR|20260302080000-0500||ADT^A01^ADT_A01|{id}|P|2.5.1
EVN|A01|20260302080000
PID|1||{id}^^^LAKESIDE^MR||ALVAREZ^MARIA^ELENA^^MS^^L||19610412|F||2106-3^White^CDCREC|18 BENEFIT ST^^PROVIDENCE^RI||\
^PRN^PH^^1^401^5550147|^WPN^PH^^1^401^5550199|en|M||A{id}^^^LAKESIDE^AN
PD1|||LAKESIDE CLINIC^^4411^^^LAKESIDE|1234567893^RAO^ANIL^^^DR^MD^^NPI
NK1|1|ALVAREZ^JORGE|SPO^Spouse^HL70063|18 BENEFIT ST^^PROVIDENCE^RI^02903|^PRN^PH^^1^401^5550148
NK1|2|ALVAREZ^ANA|CHD^Child^HL70063||^PRN^PH^^1^401^5550149
PV1|1|I|4W^412^A^LAKESIDE|U^Urgent|||1234567893^RAO^ANIL^^^DR^MD^^NPI|1999999992^COLE^HANNAH^^^^^^NPI||PUL||||7|||||\
V{id}^^^LAKESIDE^VN|||||||||||||||||||||||||20260302075500
PV2|||R04.2^Hemoptysis^I10C
OBX|1|NM|8302-2^Body height^LN||168|cm^cm^UCUM|||||F
OBX|2|NM|29463-7^Body weight^LN||71|kg^kg^UCUM|||||F
AL1|1|DA|7980^Penicillin^RXNORM|MO|Hives~Rash
AL1|2|FA|^Peanut|SV
DG1|1||C34.11^Malignant neoplasm of upper lobe, right bronchus or lung^I10C||20260301|W
PR1|1||32408^Core needle biopsy of lung^C4||20260220
GT1|1||ALVAREZ^JORGE||18 BENEFIT ST^^PROVIDENCE^RI
IN1|1|PPO^Preferred^L|BC01^^^LAKESIDE^NIIP|BLUE CROSS OF RI|||||||||20250101|20261231
""".lstrip()
    .replace("\\\n", "")
    .replace("\n", "\r")
)
_RESULT = "OBX|{n}|NM|{code}^Analyte {n}^LN||{n}.{digit}|mg/dL^mg/dL^UCUM|0.5-99.9|N|||F|||20260302073000\r"
ORU = (
    r"""
MSH|^~\&|LAB|LAKESIDE|KONSIL|HARBOR|20260302080000-0500||ORU^R01^ORU_R01|{id}|P|2.5.1
PID|1||{id}^^^LAKESIDE^MR||ALVAREZ^MARIA||19610412|F
OBR|1|P{id}^LAKESIDE|F{id}^LAKESIDE|24323-8^Metabolic panel^LN|||20260302073000|||||||||||||||20260302080000||CH|F
""".lstrip().replace("\n", "\r")
    + "".join(_RESULT.format(n=n, code=f"{2000 + n}-{n % 10}", digit=n % 7) for n in range(1, 61))
)


def parse_only(text: str) -> Callable[[int], object]:
    """Return the work of tokenizing the message and touching its header."""
    return lambda number: Message.parse(text.replace("{id}", f"{number:08d}").encode()).get("MSH-10")


def whole(text: str) -> Callable[[int], object]:
    """Return the work of parsing, mapping and serialising every resource."""

    def work(number: int) -> object:
        conversion = convert(Message.parse(text.replace("{id}", f"{number:08d}").encode()), SITE)
        return [encode(mapped.resource) for mapped in conversion.resources]

    return work


def rate(work: Callable[[int], object]) -> float:
    """Return how often ``work`` runs in a second of process time, the best of some runs."""
    best, number = 0.0, 0
    for _ in range(RUNS):
        start, done = time.process_time(), 0
        while (spent := time.process_time() - start) < SECONDS:
            number, done = number + 1, done + 1
            work(number)
        best = max(best, done / spent)
    return best


def main() -> None:
    """Print the figures."""
    for name, text in (("ADT^A01", ADT), ("ORU^R01", ORU)):
        conversion = convert(Message.parse(text.replace("{id}", "1").encode()), SITE)
        shape = f"{text.count(chr(13))} segments, {len(text):,} bytes, {len(conversion.resources)} resources"
        print(f"{name}  {shape}")
        print(f"  parse                    {rate(parse_only(text)):10,.0f}/s")
        print(f"  parse + map + serialise  {rate(whole(text)):10,.0f}/s")


if __name__ == "__main__":
    main()
