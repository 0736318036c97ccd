"""Site configuration: whose message it is, and what is refused before anything starts."""

from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from adapters.hl7v2.header import Header
from adapters.hl7v2.peer import Peer
from adapters.hl7v2.sites import InvalidSite, Sites, load_sites, site_from

ROOT = Path(__file__).parents[3]


def header(application: str, facility: str) -> Header:
    parsed = Header.parse(f"MSH|^~\\&|{application}^1.2.3^ISO|{facility}|||20260302||ADT^A01|1|P|2.5\r".encode())
    assert parsed is not None
    return parsed


def named(name: str, application: str = "*", facility: str = "*", **settings):
    return site_from(name, {"senders": [{"application": application, "facility": facility}], **settings})


def test_the_site_is_found_by_sending_application_and_facility():
    sites = Sites([named("lakeside", "*", "LAKESIDE"), named("hillside", "LAB", "HILLSIDE")])
    assert sites.find(Peer("127.0.0.1", 2575), header("EHR", "LAKESIDE")) is sites.by_name["lakeside"]
    assert sites.find(Peer("127.0.0.1", 2575), header("LAB", "HILLSIDE")) is sites.by_name["hillside"]
    assert sites.find(Peer("127.0.0.1", 2575), header("EHR", "HILLSIDE")) is None


def test_a_site_with_a_port_of_its_own_is_found_there_and_nowhere_else():
    sites = Sites([named("lakeside", "*", "LAKESIDE", port=2600), named("others")])
    assert sites.find(Peer("127.0.0.1", 2600), header("EHR", "LAKESIDE")) is sites.by_name["lakeside"]
    assert sites.find(Peer("127.0.0.1", 2575), header("EHR", "LAKESIDE")) is sites.by_name["others"]
    assert sites.find(Peer("127.0.0.1", 2600), header("EHR", "HILLSIDE")) is None
    assert sites.ports == (2600,)


def test_the_example_site_is_in_order():
    site = load_sites(ROOT / "sites").by_name["lakeside"]
    assert site.destinations["report"].name == "lakeside/report"
    assert (site.acknowledge, site.zone) == ("auto", ZoneInfo("America/New_York"))
    assert site.frame_limit_bytes == 64 * 1024 * 1024


def test_a_site_without_zone_keeps_times_in_utc():
    assert named("lakeside").zone == UTC


@pytest.mark.parametrize(("settings", "words"), [
    ({"acknowledge": "never"}, "hl7v2.acknowledge"),
    ({"acknowlege": "auto"}, "hl7v2.acknowlege is not a setting"),
    ({"senders": []}, "hl7v2.senders is empty"),
    ({"senders": [{"application": "EHR"}]}, "facility"),
    ({"destinations": {"report": {"host": "127.0.0.1"}}}, "port"),
    ({"destinations": {"report": {"host": "h", "port": 1, "retries": 3}}}, "retries is not a setting"),
    ({"application_acknowledgements": "report"}, "which is no destination"),
    ({"mapping": {"zone": "Mars/Olympus"}}, "IANA"),
])  # fmt: skip
def test_what_is_unknown_missing_or_contradictory_is_refused_by_name(settings, words):
    with pytest.raises(InvalidSite, match=words):
        site_from("lakeside", {"senders": [{"application": "*", "facility": "*"}], **settings})


def test_two_sites_of_one_name_are_refused():
    with pytest.raises(InvalidSite, match="Two sites"):
        Sites([named("lakeside"), named("lakeside")])


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "lakeside").mkdir()
    (tmp_path / "lakeside" / "site.yaml").write_text("site: lakeside\nhl7v2: {senders: []}\n")
    with pytest.raises(InvalidSite, match=r"lakeside/site\.yaml"):
        load_sites(tmp_path)


def test_a_folder_without_hl7_settings_is_no_hl7_site(tmp_path):
    (tmp_path / "clinic").mkdir()
    (tmp_path / "clinic" / "site.yaml").write_text("site: clinic\n")
    assert load_sites(tmp_path).by_name == {}
