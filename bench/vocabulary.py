"""The words and codes of the synthetic records, and how often each is met."""

import random
from collections.abc import Sequence
from datetime import datetime
from typing import Any

LOINC, SNOMED, UCUM = "http://loinc.org", "http://snomed.info/sct", "http://unitsofmeasure.org"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
Measure = tuple[str, str, str, float, float, int]  # code, display, unit, mean, spread, digits

FAMILIES = (
    "Alvarez", "Rao", "Cole", "Silva", "Okafor", "Lindqvist", "Haddad", "Novak", "Tanaka", "Moreau", "Schmidt",
    "Kowalski", "Rossi", "Murphy", "Nguyen", "Fischer", "Petrov", "Larsen", "Mbeki", "Costa", "Weber", "Ito",
    "Dubois", "Svensson", "Romano", "Jansen", "Kaya", "Horvat", "Popescu", "Kelly",
)  # fmt: skip
GIVEN = (
    "Maria", "Anil", "Hannah", "Jon", "Amara", "Lena", "Omar", "Petra", "Yuki", "Claire", "Karl", "Zofia", "Luca",
    "Aoife", "Minh", "Greta", "Ivan", "Freya", "Thabo", "Ines", "Felix", "Emi", "Louis", "Astrid", "Chiara", "Daan",
    "Elif", "Marko", "Ana", "Sean",
)  # fmt: skip
CITIES = (("Providence", "RI", "02903"), ("Boston", "MA", "02115"), ("Hartford", "CT", "06103"),
          ("Portland", "ME", "04101"), ("Concord", "NH", "03301"), ("Burlington", "VT", "05401"))  # fmt: skip
STREETS = ("Harbor Street", "Benefit Street", "Lake Avenue", "Mill Road", "Chapel Lane", "Orchard Way")
SITES = ("General Hospital", "Clinic", "Medical Center", "Imaging", "Cancer Center")
VISITS = (("AMB", "ambulatory", 30), ("IMP", "inpatient encounter", 4000), ("EMER", "emergency", 240))

VITALS: tuple[Measure, ...] = (
    ("8867-4", "Heart rate", "/min", 76, 12, 0),
    ("8480-6", "Systolic blood pressure", "mm[Hg]", 128, 17, 0),
    ("8462-4", "Diastolic blood pressure", "mm[Hg]", 78, 10, 0),
    ("8310-5", "Body temperature", "Cel", 36.8, 0.5, 1),
    ("29463-7", "Body weight", "kg", 79, 16, 1),
    ("2708-6", "Oxygen saturation", "%", 97, 2, 0),
)
PANELS: tuple[tuple[tuple[str, str], tuple[Measure, ...]], ...] = (
    (("24323-8", "Comprehensive metabolic panel"), (
        ("2160-0", "Creatinine", "mg/dL", 1.0, 0.35, 2), ("3094-0", "Urea nitrogen", "mg/dL", 16, 6, 0),
        ("2951-2", "Sodium", "mmol/L", 139, 3, 0), ("2823-3", "Potassium", "mmol/L", 4.2, 0.4, 1),
        ("2345-7", "Glucose", "mg/dL", 108, 30, 0), ("1742-6", "Alanine aminotransferase", "U/L", 28, 14, 0))),
    (("58410-2", "Complete blood count"), (
        ("718-7", "Hemoglobin", "g/dL", 13.4, 1.7, 1), ("6690-2", "Leukocytes", "10*3/uL", 7.3, 2.4, 1),
        ("777-3", "Platelets", "10*3/uL", 248, 66, 0), ("4544-3", "Hematocrit", "%", 40.5, 4.8, 1))),
    (("24331-1", "Lipid panel"), (
        ("2093-3", "Cholesterol", "mg/dL", 189, 38, 0), ("2085-9", "Cholesterol in HDL", "mg/dL", 52, 14, 0),
        ("2571-8", "Triglyceride", "mg/dL", 133, 66, 0))),
    (("4548-4", "Hemoglobin A1c"), (("4548-4", "Hemoglobin A1c", "%", 6.1, 1.1, 1),)),
    (("2857-1", "Prostate specific antigen"), (("2857-1", "Prostate specific Ag", "ng/mL", 1.9, 1.4, 2),)),
)  # fmt: skip
CONDITIONS = (
    ("38341003", "Hypertensive disorder"), ("44054006", "Type 2 diabetes mellitus"), ("55822004", "Hyperlipidemia"),
    ("195967001", "Asthma"), ("13645005", "Chronic obstructive lung disease"), ("40930008", "Hypothyroidism"),
    ("84114007", "Heart failure"), ("254837009", "Malignant neoplasm of breast"), ("363406005", "Colon cancer"),
    ("254637007", "Non-small cell lung cancer"), ("399068003", "Malignant tumor of prostate"),
    ("109838007", "Malignant neoplasm of pancreas"),
)  # fmt: skip
DRUGS = (
    ("314076", "lisinopril 10 MG Oral Tablet"), ("860975", "metformin 500 MG Oral Tablet"),
    ("617311", "atorvastatin 40 MG Oral Tablet"), ("197361", "amlodipine 5 MG Oral Tablet"),
    ("966247", "levothyroxine 0.1 MG Oral Tablet"), ("198440", "acetaminophen 500 MG Oral Tablet"),
    ("849574", "naproxen 500 MG Oral Tablet"), ("199224", "anastrozole 1 MG Oral Tablet"),
)  # fmt: skip
PROCEDURES = (("71388002", "Procedure"), ("73761001", "Colonoscopy"), ("77477000", "Computed tomography"),
              ("113091000", "Magnetic resonance imaging"), ("86273004", "Biopsy"))  # fmt: skip
ALLERGIES = (("294505008", "Allergy to amoxicillin"), ("293586001", "Allergy to aspirin"),
             ("293637006", "Allergy to contrast media"))  # fmt: skip
DOCUMENTS = (("11506-3", "Progress note"), ("18842-5", "Discharge summary"), ("11526-1", "Pathology study"))
SECOND_OPINION = ("103697008", "Patient referral for consultation")


def concept(system: str, code: str, display: str = "") -> dict[str, Any]:
    """Return a CodeableConcept of one coding."""
    coding = {"system": system, "code": code}
    return {"coding": [coding | {"display": display}], "text": display} if display else {"coding": [coding]}


def instant(at: datetime) -> str:
    """Return a FHIR instant to the second, in UTC."""
    return at.strftime("%Y-%m-%dT%H:%M:%S+00:00")


def skewed(values: Sequence[object]) -> list[float]:
    """Return weights that fall as 1/rank: a few codes are met everywhere, most are rare."""
    return [1 / rank for rank in range(1, len(values) + 1)]


def address(number: int, dice: random.Random) -> dict[str, Any]:
    """Return a postal address."""
    city, state, postcode = CITIES[number % len(CITIES)]
    line = f"{dice.randrange(1, 400)} {dice.choice(STREETS)}"
    return {"line": [line], "city": city, "state": state, "postalCode": postcode, "country": "US"}
