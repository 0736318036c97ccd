from html.parser import HTMLParser

import pytest


class Page(HTMLParser):
    """What a browser would make of a page: its elements, their attributes, and the text between."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    def stations(self) -> list[str]:
        states = {"done", "current", "todo", "stopped"}
        return [attrs["class"] for tag, attrs in self.tags if tag == "li" and attrs.get("class") in states]


async def open_page(browser, path="/app/cases/case") -> Page:
    answer = await browser.get(path)
    assert answer.status_code == 200, answer.text
    return Page(answer.text)


@pytest.mark.parametrize(
    ("business", "here", "words"),
    [
        ("submitted", 0, "Request received"),
        ("eligibility", 1, "Eligibility is being checked"),
        ("records-gathering", 2, "Collecting records"),
        ("records-complete", 3, "Records complete, choosing a specialist"),
        ("offered", 3, "Offered to a specialist"),
        ("in-review", 4, "Under review by the specialist"),
        ("signed", 5, "Report signed, being delivered"),
    ],
)
async def test_the_page_shows_where_the_case_is(signed_in, write, story, business, here, words):
    await write(story(business))
    page = await open_page(signed_in)
    assert page.stations() == ["done"] * here + ["current"] + ["todo"] * (5 - here)
    assert words in page.text
    assert "SO-2026-000042" in page.text


async def test_a_delivered_case_has_every_station_behind_it(signed_in, write, story):
    await write(story("delivered"))
    page = await open_page(signed_in)
    assert page.stations() == ["done"] * 6
    assert "Report delivered" in page.text


@pytest.mark.parametrize(
    ("status", "business", "here", "words"),
    [
        ("rejected", "ineligible", 1, "Not eligible for this programme"),
        ("cancelled", "eligibility", 1, "Cancelled"),
        ("failed", "eligibility", 1, "Ended without a report"),
    ],
)
async def test_a_case_that_ended_early_shows_where_and_why(
    signed_in, write, story, make, status, business, here, words
):
    await write(story("eligibility"))
    await write([make.case_task(status, business, "2026-03-02T10:00:00-05:00", reason="Lives in Massachusetts")])
    page = await open_page(signed_in)
    assert page.stations() == ["done"] * here + ["stopped"] + ["todo"] * (5 - here)
    assert words in page.text
    assert "Lives in Massachusetts" in page.text


@pytest.mark.parametrize(("status", "here"), [("received", 1), ("accepted", 2)])
async def test_a_case_that_waits_says_for_what(signed_in, write, story, make, status, here):
    await write(story("eligibility"))
    paused = make.case_task(status, "awaiting-information", "2026-03-02T10:00:00-05:00", reason="In hospital")
    await write([paused])
    page = await open_page(signed_in)
    assert page.stations()[here] == "current"
    assert "Waiting for information" in page.text
    assert "In hospital" in page.text


async def test_the_banner_names_the_patient(signed_in, write, story):
    await write(story("submitted"))
    text = (await open_page(signed_in)).text
    for expected in ("Maria Alvarez", "12 Apr 1961", "00483921", "Providence, RI"):
        assert expected in text


async def test_the_manifest_tells_what_arrived_when_by_which_message_and_what_is_missing(signed_in, write, story):
    await write(story("records-gathering"))
    text = (await open_page(signed_in)).text
    assert "Pathology report, 24 Feb 2026" in text
    assert "2 Mar 2026, 08:20 EST ORU^R01 from LAKESIDE" in text
    assert "Adenocarcinoma of the right upper lobe" in text
    assert "Molecular pathology Not yet received" in text
    assert "Pathology slides optional" in text


async def test_a_waived_record_shows_its_reason(signed_in, write, story):
    await write(story("records-complete"))
    text = (await open_page(signed_in)).text
    assert "The molecular report answers the question." in text
    assert "Waived" in text


async def test_a_record_still_open_when_the_case_closes_was_not_received_rather_than_waived(
    signed_in, write, story, make
):
    await write(story("delivered"))
    slides = make.record_task("slides", "Pathology slides", "cancelled", mandatory=False, why="The case is closed.")
    system = "https://konsil.example/fhir/CodeSystem/so-reason"
    slides["statusReason"]["coding"] = [{"system": system, "code": "case-closed"}]
    await write([slides])
    text = (await open_page(signed_in)).text
    assert "The case is closed. Not received" in text
    assert "Pathology slides: closed" in text


async def test_questions_are_there_before_their_answers(signed_in, write, story):
    await write(story("submitted"))
    text = (await open_page(signed_in)).text
    assert "Is the diagnosis right?" in text
    assert text.count("Not answered yet") == 3


async def test_the_report_shows_outcome_answers_signature_and_pdf(signed_in, write, story):
    await write(story("delivered", answer="No, EGFR exon 19."))
    page = await open_page(signed_in)
    assert "Agrees with the diagnosis; recommends a different plan" in page.text
    assert "I advise against neoadjuvant immunotherapy." in page.text
    assert "No, EGFR exon 19." in page.text
    assert "Digitally signed" in page.text
    assert "Dr Hannah Cole, 10 Mar 2026, 16:00 EDT" in page.text
    assert ("a", {"class": "button primary", "href": "/app/reports/report.pdf"}) in page.tags


async def test_the_delivery_shows_its_proof(signed_in, write, story):
    await write(story("delivered"))
    text = (await open_page(signed_in)).text
    assert "Dr Anil Rao Delivered" in text
    assert "AA from EHR at LAKESIDE for H77001" in text


async def test_the_time_inside_a_proof_is_told_as_any_other(signed_in, write, story, make):
    await write(story("delivered"))
    await write([make.delivery("completed", **make.proof("lakeside/report H77001 AA 2026-03-10T20:14:58.712Z"))])
    assert "lakeside/report H77001 AA 10 Mar 2026, 16:14 EDT" in (await open_page(signed_in)).text


async def test_a_delivery_that_needs_a_person_says_so(signed_in, write, story, make):
    await write(story("signed"))
    await write([make.delivery("on-hold", statusReason={"text": "The acknowledgement was lost"})])
    text = (await open_page(signed_in)).text
    assert "Needs a person" in text
    assert "The acknowledgement was lost" in text


async def test_the_timeline_tells_the_story_in_order(signed_in, write, story):
    await write(story("delivered"))
    text = (await open_page(signed_in)).text
    text = text[text.index("Timeline") :]
    expected = [
        "Second opinion requested",
        "Request received",
        "Collecting records",
        "CT chest: arrived",
        "Molecular pathology: arrived",
        "Pathology slides: waived",
        "Records complete",
        "Case offered to Dr James Lin",
        "Dr James Lin declined",
        "Case offered to Dr Hannah Cole",
        "Under review",
        "Report signed",
        "Report received by Dr Anil Rao",
        "Report delivered",
    ]
    assert text.count("Records complete") == 1
    assert "Offered to a specialist" not in text
    places = [text.index(words) for words in expected]
    assert places == sorted(places)


async def test_first_middle_and_last_image_of_the_largest_series_are_shown(signed_in, write, story):
    await write(story("records-gathering"))
    page = await open_page(signed_in)
    shown = [attrs["src"].rsplit(".", 1)[1] for tag, attrs in page.tags if tag == "img" and "/images/" in attrs["src"]]
    assert shown == ["1", "79", "156"]
    assert "CT · 20 Feb 2026 · 2 series · 312 images · Accession A26-11873" in page.text


async def test_a_case_is_found_by_its_task_a_sub_task_and_its_request(signed_in, write, story):
    await write(story("offered"))
    pages = [await open_page(signed_in, f"/app/cases/{name}") for name in ("case", "review-cole", "order")]
    assert pages[0].text == pages[1].text == pages[2].text


async def test_a_request_nobody_took_up_yet_has_a_page(signed_in, write, story):
    await write([item for item in story("submitted") if item["resourceType"] != "Task"])
    page = await open_page(signed_in, "/app/cases/order")
    assert "Request is being written" in page.text


async def test_what_does_not_exist_and_what_is_hidden_look_the_same(
    signed_in, browser, sessions, write, story, issue_token
):
    await write(story("submitted"))
    absent = await signed_in.get("/app/cases/nothing")
    browser.cookies.set("konsil", sessions.open(await issue_token("Patient/other", "patient/*.rs")), domain="127.0.0.1")
    hidden = await browser.get("/app/cases/case")
    assert absent.status_code == hidden.status_code == 404
    assert absent.text == hidden.text


HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' autofocus onfocus=alert(1) x='",
    "{{ 7*7 }}{% raw %}",
    "</textarea></title><iframe src=javascript:alert(1)>",
    "javascript:alert(1)",
    "<a href='//attacker.example'>x</a>",
)


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_markup_in_data_stays_text(signed_in, write, story, make, hostile):
    await write(story("delivered", name=hostile, question=hostile, answer=hostile))
    record = make.record_task("ngs", hostile, "cancelled", why=hostile)
    await write([record, make.delivery("completed", **make.proof(hostile))])
    page = await open_page(signed_in)
    plain = " ".join(hostile.split())
    assert page.text.count(plain) >= 5
    for tag, attrs in page.tags:
        assert tag not in ("script", "iframe", "svg", "object", "embed", "base")
        assert not [name for name in attrs if name.startswith("on") or name in ("style", "autofocus")]
        for name in ("href", "src", "action"):
            assert (attrs.get(name) or "/").startswith(("/", "#"))
            assert not (attrs.get(name) or "/").startswith("//")


async def test_the_page_asks_for_nothing_inline_and_nothing_remote(signed_in, write, story):
    await write(story("delivered"))
    html = (await signed_in.get("/app/cases/case")).text
    assert "style=" not in html
    assert "<style" not in html
    assert "<script" not in html
    assert "http://" not in html
    assert "https://" not in html


async def test_the_page_is_readable_by_machines_too(signed_in, write, story):
    await write(story("delivered"))
    page = await open_page(signed_in)
    assert [tag for tag, _ in page.tags].count("h1") == 1
    assert ("html", {"lang": "en"}) in page.tags
    assert all(attrs.get("alt") is not None for tag, attrs in page.tags if tag == "img")
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["aria-labelledby"] for _, attrs in page.tags if "aria-labelledby" in attrs} <= set(ids)
