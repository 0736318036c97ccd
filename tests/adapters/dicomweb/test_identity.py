import pytest

from adapters.dicomweb.client import Pacs
from adapters.dicomweb.identity import mismatch

pacs = Pacs("LAKESIDE", "http://127.0.0.1", "https://lakeside.example/mrn", "x", issuer="LAKESIDE")
patient = {
    "identifier": [
        {"system": "https://other.example/mrn", "value": "9"},
        {"system": "https://lakeside.example/mrn", "value": "00483921"},
    ],
    "name": [{"family": "Álvarez", "given": ["María José"]}, {"use": "maiden", "family": "O'Neil", "given": ["Maria"]}],
    "birthDate": "1961-04-12",
}


def header(id="00483921", name="Alvarez^Maria", birth="19610412", issuer=None):
    found = {"00100020": {"vr": "LO", "Value": [id]}}
    if name:
        found["00100010"] = {"vr": "PN", "Value": [{"Alphabetic": name}]}
    if birth:
        found["00100030"] = {"vr": "DA", "Value": [birth]}
    if issuer:
        found["00100021"] = {"vr": "LO", "Value": [issuer]}
    return found


@pytest.mark.parametrize(
    "dataset",
    [
        header(),
        header(issuer="LAKESIDE"),
        header(name="ALVAREZ^MARIA^J"),
        header(name="Alvarez^M"),
        header(name="Oneil^Maria"),
        header(name=None),
        header(birth=None),
        header(birth="1961.04.12"),
    ],
)
def test_the_same_person_written_another_way_is_the_same_person(dataset):
    assert mismatch(dataset, patient, pacs) is None


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        (header(id="483921"), "patient-id-mismatch"),
        (header(id="9"), "patient-id-mismatch"),
        (header(id=""), "patient-id-mismatch"),
        (header(issuer="RIVERSIDE"), "issuer-mismatch"),
        (header(birth="19610413"), "birth-date-mismatch"),
        (header(birth="1961"), "birth-date-mismatch"),
        (header(name="Alvarez^Ana"), "name-mismatch"),
        (header(name="Baker^Maria"), "name-mismatch"),
        (header(name=None, birth=None), "identity-unconfirmed"),
    ],
)
def test_what_contradicts_or_confirms_nothing_is_no_match(dataset, reason):
    assert mismatch(dataset, patient, pacs) == reason


def test_an_identifier_that_is_no_longer_in_use_does_not_count():
    old = {**patient, "identifier": [{**patient["identifier"][1], "use": "old"}]}
    assert mismatch(header(), old, pacs) == "patient-id-mismatch"


def test_another_script_is_compared_group_by_group():
    yamada = {**patient, "name": [{"family": "山田", "given": ["太郎"]}]}
    name = {"vr": "PN", "Value": [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}]}
    assert mismatch({**header(), "00100010": name}, yamada, pacs) is None
