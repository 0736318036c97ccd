import pytest

PDF, IMAGE = "/app/reports/report.pdf", "/app/images/1.2.3/1.2.3.4/1.2.3.4.2"


async def test_the_pdf_is_shown_inline_as_what_it_is(signed_in, write, story):
    await write(story("delivered"))
    answer = await signed_in.get(PDF)
    assert answer.status_code == 200
    assert answer.content.startswith(b"%PDF-")
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"] == 'inline; filename="SO-2026-000042.pdf"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")


@pytest.mark.parametrize("path", [PDF, IMAGE, "/app/", "/app/cases/case"])
async def test_nothing_is_served_without_a_session(browser, write, story, path):
    await write(story("delivered"))
    assert (await browser.get(path)).status_code == 303


@pytest.mark.parametrize("data", ["PGh0bWw+", "AAAA", None])
async def test_a_file_that_is_no_pdf_is_not_served(signed_in, write, story, data):
    await write(story("delivered"))
    binary = {"resourceType": "Binary", "id": "pdf", "contentType": "application/pdf"}
    await write([binary | {"data": data} if data else binary])
    assert (await signed_in.get(PDF)).status_code == 404


async def test_another_patients_token_gets_no_pdf(browser, sessions, write, story, issue_token):
    await write(story("delivered"))
    browser.cookies.set("konsil", sessions.open(await issue_token("Patient/other", "patient/*.rs")), domain="127.0.0.1")
    assert (await browser.get(PDF)).status_code == 404


async def test_an_image_comes_with_the_users_own_token(signed_in):
    answer = await signed_in.get(IMAGE)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"


async def test_an_image_that_cannot_be_rendered_shows_a_placeholder(signed_in):
    answer = await signed_in.get("/app/images/1.2.3/1.2.3.4/1.2.3.4.1")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert "No preview available" in answer.text


@pytest.mark.parametrize(
    "path", ["/app/images/..%2f..%2ffhir/1/1", "/app/images/a/1/1", "/app/images/1/1/%2e%2e", "/app/images/1/1/1%3fx"]
)
async def test_an_image_path_that_is_not_made_of_uids_is_refused(signed_in, path):
    answer = await signed_in.get(path)
    assert answer.status_code == 404
    assert "Not found" in answer.text
