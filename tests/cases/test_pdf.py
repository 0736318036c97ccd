import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pypdf import PdfReader

from cases import pdf
from cases.report_content import Answer, Letterhead, Opinion, Person, ReportContent, ReviewedRecord

CONTENT = ReportContent(
    programme=Letterhead("Organization/harbor", "HARBOR Second Opinion Programme", ("1 Harbor Way, Boston, MA 02110",)),
    case_number="SO-2026-000042",
    patient=Person("Patient/maria", "Maria Alvarez", "MRN 00483921"),
    birth_date="1961-04-12",
    sex="Female",
    referrer=Person("Practitioner/anil-rao", "Dr Anil Rao", "NPI 1234567893"),
    specialist=Person("Practitioner/hannah-cole", "Dr Hannah Cole", "Thoracic oncology"),
    opinion=Opinion(
        outcome="different-plan",
        diagnosis="I agree with the diagnosis.",
        plan="I advise against neoadjuvant immunotherapy.",
        trials="",
        limitations="I have not examined the patient.",
        answers=(
            Answer("1", "Is the diagnosis right?", "Yes."),
            Answer("2", "Which treatment?", "First line.\nSecond."),
        ),
    ),
    records=(ReviewedRecord("DiagnosticReport/1", "Pathology report", "2026-02-24", "Lakeside Hospital"),),
    requested="2026-03-02",
    signed_at=datetime(2026, 3, 10, 20, 0, tzinfo=UTC),
    document="urn:uuid:4b7e0a5e-95a3-5b5f-9a31-7f4b1e7b2c11",
    key_id="NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
)


def read(content):
    return PdfReader(io.BytesIO(pdf.render(content)))


def text_of(content):
    return " ".join(" ".join(page.extract_text() for page in read(content).pages).split())


def test_the_text_of_the_report_can_be_extracted():
    text = text_of(CONTENT)
    for expected in (
        "HARBOR Second Opinion Programme",
        "Maria Alvarez",
        "MRN 00483921",
        "Born 12 Apr 1961 (64 years)",
        "Opinion requested 2 Mar 2026",
        "24 Feb 2026 Pathology report",
        "Dr Anil Rao",
        "SO-2026-000042",
        "Agrees with the diagnosis; recommends a different plan",
        "Is the diagnosis right?",
        "First line. Second.",
        "Pathology report",
        "I have not examined the patient.",
        "Dr Hannah Cole",
        "10 March 2026, 16:00 EDT",
        CONTENT.key_id,
        "Page 1 of",
    ):
        assert expected in text


def test_the_same_content_gives_the_same_bytes():
    assert pdf.render(CONTENT) == pdf.render(replace(CONTENT))


def test_the_file_is_tagged_archival_and_dated_by_its_signature():
    reader = read(CONTENT)
    assert reader.trailer["/Root"]["/MarkInfo"]["/Marked"]
    assert reader.metadata.creation_date == CONTENT.signed_at
    assert reader.metadata.title == "Second opinion report SO-2026-000042"
    xmp = reader.trailer["/Root"]["/Metadata"].get_data().decode()
    assert "<pdfaid:part>2</pdfaid:part>" in xmp
    assert "<pdfaid:conformance>A</pdfaid:conformance>" in xmp
    assert "<pdfuaid:part>1</pdfuaid:part>" in xmp


def test_the_file_holds_no_script_form_link_or_attachment():
    reader = read(CONTENT)
    root = reader.trailer["/Root"]
    assert not {"/OpenAction", "/AA", "/AcroForm", "/Names"} & set(root)
    assert all("/Annots" not in page for page in reader.pages)


@pytest.mark.parametrize(
    "hostile",
    [
        '#read("/etc/passwd")',
        '#eval("1+1") $x^2$ *bold* _it_ = heading @ref <label> \\ // comment /* open',
        '"); #panic("x")',
        "[unclosed {brackets ( and `code`",
        "https://attacker.example/?q=1",
    ],
)
def test_markup_in_any_field_is_printed_as_it_was_written(hostile):
    opinion = replace(CONTENT.opinion, diagnosis=hostile, answers=(Answer("1", hostile, hostile),))
    content = replace(CONTENT, opinion=opinion, patient=Person("Patient/x", hostile, hostile), case_number=hostile)
    assert "".join(text_of(content).split()).count("".join(hostile.split())) >= 4
    assert all("/Annots" not in page for page in read(content).pages)


def test_a_long_report_numbers_its_pages():
    long = "\n\n".join(f"Paragraph {number}. " + "Some careful prose. " * 30 for number in range(40))
    content = replace(CONTENT, opinion=replace(CONTENT.opinion, plan=long))
    pages = [page.extract_text() for page in read(content).pages]
    assert len(pages) > 4
    for number, page in enumerate(pages, 1):
        assert f"Page {number} of {len(pages)}" in page
        assert "Maria Alvarez" in page


def test_a_name_in_a_script_without_bundled_glyphs_still_gives_a_report():
    content = replace(CONTENT, patient=Person("Patient/x", "王小明 田中 ਸਿੰਘ", "MRN 1"))
    assert "MRN 1" in text_of(content)


@pytest.mark.parametrize("name", ["Ásgeir Þór Ðúason", "Łukasz Żółć", "Nguyễn Thị Hạnh", "Ελένη", "Иванова Ольга"])
def test_european_and_vietnamese_names_stay_archival(name):
    reader = read(replace(CONTENT, patient=Person("Patient/x", name, "")))
    assert b"pdfaid:part" in reader.trailer["/Root"]["/Metadata"].get_data()
    assert name in " ".join(page.extract_text() for page in reader.pages)


@pytest.mark.parametrize("born", ["", "1961", "1961-04"])
def test_a_birth_date_of_any_precision_is_shown_without_an_invented_age(born):
    text = text_of(replace(CONTENT, birth_date=born))
    assert "years)" not in text
    assert not born or f"Born {born}" in text


@pytest.mark.parametrize("outcome", ["agree", "different-plan", "different-diagnosis"])
def test_every_outcome_has_its_words(outcome):
    content = replace(CONTENT, opinion=replace(CONTENT.opinion, outcome=outcome, trials="A trial recruits."))
    text = text_of(content)
    assert pdf.OUTCOMES[outcome][1] in text
    assert "A trial recruits." in text
