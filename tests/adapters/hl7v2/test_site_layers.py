import pytest

from adapters.hl7v2.convert import convert
from adapters.hl7v2.sites import InvalidSite, load_sites
from adapters.hl7v2.tokenizer import Message

SITE = """
site: mater
hl7v2:
  senders: [{application: "*", facility: MATER}]
  mapping: {zone: Europe/Dublin, authorities: {MATER: "https://mater.example/mrn"}}
"""
MESSAGE = (
    b"MSH|^~\\&|A|MATER|K|H|20260302||ADT^A08^ADT_A01|1|P|2.5\rPID|1||7^^^MATER^MR||DOE^JANE||19700101|3\rZPD|1|ga\r"
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mater" / "patches" / "ORU_R01").mkdir(parents=True)
    (tmp_path / "mater" / "tables").mkdir()
    (tmp_path / "mater" / "site.yaml").write_text(SITE)
    return tmp_path


def patient(folder):
    site = load_sites(folder).by_name["mater"]
    return convert(Message.parse(MESSAGE), site.mapping).resources[0].resource


def test_patches_and_tables_beside_the_site_file_change_its_mapping(folder):
    (folder / "mater" / "patches" / "pid.yaml").write_text(
        "- {op: add, to: segments/PID.Patient, row: {id: mater-zpd, from: ZPD-2, to: language}}\n"
    )
    (folder / "mater" / "tables" / "0001.gender.csv").write_text("source,target,display,system\n3,female,,\n")
    assert (patient(folder)["language"], patient(folder)["gender"]) == ("ga", "female")


def test_a_patch_in_a_messages_folder_holds_for_that_message_only(folder):
    (folder / "mater" / "patches" / "ORU_R01" / "pid.yaml").write_text("- {op: drop, row: segments/PID.Patient/pid5}\n")
    assert patient(folder)["name"]


@pytest.mark.parametrize("text", ["- {op: drop, row: segments/PID.Patient/nope}", "op: drop", "- [", "- drop"])
def test_a_wrong_patch_file_keeps_the_site_from_loading(folder, text):
    (folder / "mater" / "patches" / "pid.yaml").write_text(text)
    with pytest.raises(InvalidSite, match="mater"):
        load_sites(folder)
