async def test_the_list_shows_status_due_date_and_missing_records(signed_in, write, story):
    await write(story("records-gathering"))
    text = " ".join((await signed_in.get("/app/")).text.split())
    assert '<a href="/app/cases/case">SO-2026-000042</a>' in text
    assert "Maria Alvarez" in text
    assert "Collecting records" in text
    assert "Molecular pathology, Pathology slides" in text
    assert "not yet set" in text


async def test_an_open_case_past_its_due_date_is_marked_late(signed_in, write, story):
    await write(story("in-review"))
    text = (await signed_in.get("/app/")).text
    assert "11 Mar 2026" in text
    assert '<span class="chip late">late</span>' in text


async def test_a_delivered_case_is_neither_late_nor_missing_anything(signed_in, write, story):
    await write(story("delivered"))
    text = (await signed_in.get("/app/")).text
    assert "Report delivered" in text
    assert "late</span>" not in text


async def test_a_user_without_cases_sees_an_empty_list(browser, sessions, issue_token):
    token = await issue_token("Patient/other", "patient/*.rs")
    browser.cookies.set("konsil", sessions.open(token), domain="127.0.0.1")
    answer = await browser.get("/app/")
    assert answer.status_code == 200
    assert "There is no case you may see yet." in answer.text


async def test_the_list_is_at_app_with_and_without_slash(signed_in):
    answer = await signed_in.get("/app")
    assert (answer.status_code, answer.headers["location"]) == (308, "/app/")
