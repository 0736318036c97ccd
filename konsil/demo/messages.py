"""The HL7 v2 messages LAKESIDE's interface engine sends about Maria Alvarez, who does not exist.

Times are relative to the moment the demo starts, so that look-back periods and business days behave as in real life.
"""

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

EASTERN = ZoneInfo("America/New_York")
_rao = "1234567893^Rao^Anil^^^DR^MD^^NPI"
_pid = (
    "PID|1||00483921^^^LAKESIDE^MR||Alvarez^Maria^Elena||19610412|F|||{address}||^PRN^PH^^1^401^5550147|"
    "^WPN^PH^^1^401^5550199|en|M||ACC-7741^^^LAKESIDE^AN"
)
_providence = "18 Benefit St^^Providence^RI^02903^USA^H"


@dataclass(frozen=True)
class Message:
    """One message: its control id (MSH-10), what it is, and its bytes."""

    control_id: str
    title: str
    raw: bytes


class Lakeside:
    """Writes LAKESIDE's messages; ``now`` is the demo's start."""

    def __init__(self, now: datetime | None = None) -> None:
        """Remember the start; every message time is an offset from it."""
        self.now = now or datetime.now(EASTERN)

    def at(self, *, days: float = 0, minutes: float = 0) -> str:
        """Return a v2 timestamp ``days`` and ``minutes`` away from the start, with offset."""
        return (self.now + timedelta(days=days, minutes=minutes)).strftime("%Y%m%d%H%M%S%z")

    def _message(self, control_id: str, event: str, structure: str, when: str, title: str, *segments: str) -> Message:
        msh = f"MSH|^~\\&|EPICADT|LAKESIDE|KONSIL|HARBOR|{when}||{event}^{structure}|{control_id}|P|2.5.1|||||USA|UNICODE UTF-8"
        return Message(control_id, title, ("\r".join([msh, *segments]) + "\r").encode())

    def _adt(
        self, control_id: str, event: str, when: str, title: str, *, discharged: str = "", address: str = _providence
    ) -> Message:
        admitted = self.at(days=-9)
        visit = (
            f"PV1|1|I|4W^412^A^LAKESIDE||||{_rao}|||PUL||||7|||{_rao}||V-90211^^^LAKESIDE^VN|||||||||||||||||"
            f"{'01' if discharged else ''}||||||||{admitted}|{discharged}"
        )
        return self._message(
            control_id, f"ADT^{event}", "ADT_A01", when, title,
            f"EVN|{event}|{when}", _pid.format(address=address), visit,
            "NK1|1|Alvarez^Jorge|SPO^Spouse^HL70063|18 Benefit St^^Providence^RI^02903|^PRN^PH^^1^401^5550148",
            "AL1|1|DA|7980^Penicillin^RXNORM|MO|Hives",
            "DG1|1||C34.11^Malignant neoplasm of upper lobe, right bronchus or lung^I10|||W",
        )  # fmt: skip

    def admitted(self) -> Message:
        """ADT^A01: the patient is an inpatient."""
        when = self.at(days=-9)
        return self._adt("LKS-A01-1", "A01", when, "ADT^A01  admitted to 4 West")

    def discharged(self) -> Message:
        """ADT^A03: the stay is over."""
        when = self.at(days=-6)
        return self._adt("LKS-A03-1", "A03", when, "ADT^A03  discharged home", discharged=when)

    def moved_to_providence(self) -> Message:
        """ADT^A08: demographics, residence Rhode Island."""
        when = self.at(days=-5)
        return self._adt("LKS-A08-1", "A08", when, "ADT^A08  demographics updated", discharged=self.at(days=-6))

    def massachusetts_patient(self) -> Message:
        """ADT^A01 outpatient James Porter, resident of Massachusetts, whom HARBOR may not serve."""
        when = self.at(days=-2)
        return self._message(
            "LKS-A01-2", "ADT^A01", "ADT_A01", when, "ADT^A01  James Porter, resident of Massachusetts",
            f"EVN|A01|{when}",
            "PID|1||00512277^^^LAKESIDE^MR||Porter^James||19550920|M|||4 Elm St^^Worcester^MA^01608^USA^H||^PRN^PH^^1^508^5550110",
            f"PV1|1|O|PULM^^^LAKESIDE||||{_rao}||||||||||||V-90377^^^LAKESIDE^VN|||||||||||||||||||||||||{when}",
        )  # fmt: skip

    def pathology(self) -> Message:
        """ORU^R01: surgical pathology S26-20911, narrative."""
        when = self.at(days=-7)
        lines = (
            "FINAL DIAGNOSIS",
            "Lung, right upper lobe, CT-guided core biopsy: ADENOCARCINOMA, acinar predominant.",
            "Immunohistochemistry: TTF-1 positive, Napsin A positive, p40 negative.",
            "Tissue sent for next-generation sequencing.",
        )
        observations = [
            f"OBX|{n}|TX|22637-3^Pathology report final diagnosis^LN||{line}||||||F" for n, line in enumerate(lines, 1)
        ]
        return self._message(
            "LKS001", "ORU^R01", "ORU_R01", when, "ORU^R01  pathology report S26-20911",
            _pid.format(address=_providence),
            f"PV1|1|I|4W^412^A^LAKESIDE||||{_rao}||||||||||||V-90211^^^LAKESIDE^VN",
            f"ORC|RE|PL-5501^LAKESIDE|S26-20911^LAKESIDE||CM||||{when}|||{_rao}",
            f"OBR|1|PL-5501^LAKESIDE|S26-20911^LAKESIDE|11526-1^Pathology study^LN|||{self.at(days=-8)}|||||||||{_rao}||||||{when}||SP|F|||||||5550021&Okafor&Chidi^^^^^^^NPI",
            *observations,
        )  # fmt: skip

    def laboratory(self) -> Message:
        """ORU^R01: basic metabolic panel."""
        when = self.at(days=-6.5)
        rows = (
            ("2160-0^Creatinine^LN", "0.80", "mg/dL", "0.50-1.10", ""),
            ("3094-0^Urea nitrogen^LN", "14", "mg/dL", "7-20", ""),
            ("2951-2^Sodium^LN", "138", "mmol/L", "136-145", ""),
            ("2823-3^Potassium^LN", "4.10", "mmol/L", "3.5-5.1", ""),
            ("718-7^Hemoglobin^LN", "11.2", "g/dL", "12.0-16.0", "L"),
        )
        observations = [
            f"OBX|{n}|NM|{code}||{value}|{unit}^{unit}^UCUM|{limits}|{flag}|||F|||{when}"
            for n, (code, value, unit, limits, flag) in enumerate(rows, 1)
        ]
        return self._message(
            "LKS002", "ORU^R01", "ORU_R01", when, "ORU^R01  laboratory panel",
            _pid.format(address=_providence),
            f"PV1|1|I|4W^412^A^LAKESIDE||||{_rao}||||||||||||V-90211^^^LAKESIDE^VN",
            f"ORC|RE|PL-5502^LAKESIDE|L26-77120^LAKESIDE||CM||||{when}|||{_rao}",
            f"OBR|1|PL-5502^LAKESIDE|L26-77120^LAKESIDE|51990-0^Basic metabolic panel - Blood^LN|||{when}|||||||||{_rao}||||||{when}||LAB|F",
            *observations,
        )  # fmt: skip

    def consult_note(self, pdf: bytes) -> Message:
        """MDM^T02: the oncologist's consult note, as text and as PDF."""
        when = self.at(days=-5)
        lines = (
            "ONCOLOGY CONSULTATION",
            "64-year-old woman, never smoker, adenocarcinoma of the right upper lobe.",
            "Clinical stage cT2aN2M0, IIIA. ECOG 0.",
            "Plan: cisplatin, pemetrexed and nivolumab for three cycles, then lobectomy.",
        )
        observations = [f"OBX|{n}|TX|11488-4^Consult note^LN||{line}||||||F" for n, line in enumerate(lines, 1)]
        encoded = base64.b64encode(pdf).decode()
        return self._message(
            "LKS003", "MDM^T02", "MDM_T02", when, "MDM^T02  oncology consult note, with PDF",
            f"EVN|T02|{when}",
            _pid.format(address=_providence),
            f"PV1|1|O|ONC^^^LAKESIDE||||{_rao}||||||||||||V-90305^^^LAKESIDE^VN",
            f"TXA|1|CN|TX|{when}|{_rao}||{when}||{_rao}|||DOC-33017^LAKESIDE|||||AU||AV",
            *observations,
            f"OBX|{len(lines) + 1}|ED|PDF^Consult note^L||LAKESIDE^application^pdf^Base64^{encoded}||||||F",
        )  # fmt: skip

    def sequencing(self) -> Message:
        """ORU^R01: the next-generation sequencing report that changes the case."""
        when = self.at(minutes=-5)
        lines = (
            "EGFR exon 19 deletion (p.E746_A750del) DETECTED, variant allele fraction 31 %.",
            "PD-L1 (22C3) tumour proportion score 10 %.",
            "ALK, ROS1, RET, MET exon 14, KRAS G12C: not detected.",
        )
        observations = [
            f"OBX|{n}|TX|81247-9^Master HL7 genetic variant reporting panel^LN||{line}||||||F"
            for n, line in enumerate(lines, 1)
        ]
        return self._message(
            "LKS004", "ORU^R01", "ORU_R01", when, "ORU^R01  next-generation sequencing M26-3304",
            _pid.format(address=_providence),
            f"ORC|RE|PL-5510^LAKESIDE|M26-3304^LAKESIDE||CM||||{when}|||{_rao}",
            f"OBR|1|PL-5510^LAKESIDE|M26-3304^LAKESIDE|81247-9^Master HL7 genetic variant reporting panel^LN|||{self.at(days=-8)}|||||||||{_rao}||||||{when}||GE|F",
            *observations,
        )  # fmt: skip

    def without_patient_id(self) -> Message:
        """ORU^R01 without PID-3: it cannot be filed, and must not be lost."""
        when = self.at(minutes=-3)
        return self._message(
            "LKS-BAD-1", "ORU^R01", "ORU_R01", when, "ORU^R01  without PID-3",
            "PID|1||||Alvarez^Maria||19610412|F",
            "OBR|1|||51990-0^Basic metabolic panel - Blood^LN|||20260301",
            "OBX|1|NM|2160-0^Creatinine^LN||0.9|mg/dL|||||F",
        )  # fmt: skip
