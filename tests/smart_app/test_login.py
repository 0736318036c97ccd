import httpx
import pytest
from starlette.applications import Starlette

from smart_app.routes import build_routes, in_process


async def test_a_page_without_session_leads_to_the_login_and_back(browser):
    answer = await browser.get("/app/cases/order")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/app/login?next=%2Fapp%2Fcases%2Forder"


async def test_a_valid_token_opens_a_session_and_goes_where_the_user_was_going(browser, issue_token):
    answer = await browser.post("/app/login", data={"token": await issue_token(), "next": "/app/"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/app/")
    assert (await browser.get("/app/")).status_code == 200


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites_and_is_not_the_token(browser, issue_token):
    token = await issue_token()
    answer = await browser.post("/app/login", data={"token": token})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie
    assert token not in cookie


async def test_a_wrong_token_is_refused_without_a_session(browser):
    answer = await browser.post("/app/login", data={"token": "made-up"})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "The token is not valid" in answer.text
    assert "made-up" not in answer.text


@pytest.mark.parametrize("token", ["", "   ", "two words", "naïve", "a\r\nX-Injected: 1"])
async def test_a_token_no_header_could_carry_is_refused(browser, token):
    assert (await browser.post("/app/login", data={"token": token})).status_code == 401


async def test_a_login_form_of_another_site_is_refused(browser, issue_token):
    form = {"token": await issue_token()}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://attacker.example"}):
        answer = await browser.post("/app/login", data=form, headers=headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "escape",
    [
        "https://attacker.example/",
        "//attacker.example/",
        "/app//attacker.example",
        "/\\attacker.example",
        "/fhir/Patient",
    ],
)
async def test_the_login_never_leads_to_another_site(browser, issue_token, escape):
    answer = await browser.post("/app/login", data={"token": await issue_token(), "next": escape})
    assert answer.headers["location"] == "/app/"


async def one_time_link(browser, token, **query):
    return await browser.post("/app/login/link", params=query, headers={"Authorization": f"Bearer {token}"})


async def test_a_one_time_link_signs_in_once_and_holds_no_token(browser, issue_token):
    token = await issue_token()
    made = await one_time_link(browser, token, next="/app/cases/order")
    assert made.status_code == 201
    url = made.json()["url"]
    assert url.startswith("http://127.0.0.1:8000/app/login?code=")
    assert token not in url
    first = await browser.get(url)
    assert (first.status_code, first.headers["location"]) == (303, "/app/cases/order")
    browser.cookies.clear()
    again = await browser.get(url)
    assert again.status_code == 410
    assert "set-cookie" not in again.headers


async def test_a_link_opened_from_another_site_ends_on_a_page_of_ours(browser, issue_token):
    url = (await one_time_link(browser, await issue_token())).json()["url"]
    answer = await browser.get(url, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert 'href="/app/"' in answer.text


async def test_a_link_is_only_made_for_a_valid_token(browser):
    assert (await one_time_link(browser, "made-up")).status_code == 401
    assert (await browser.post("/app/login/link")).status_code == 401


async def test_signing_out_ends_the_session_on_the_server(signed_in):
    name = signed_in.cookies["konsil"]
    answer = await signed_in.post("/app/logout", headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.headers["location"] == "/app/login"
    signed_in.cookies.set("konsil", name, domain="127.0.0.1")
    assert (await signed_in.get("/app/")).status_code == 303


async def test_another_site_cannot_sign_the_user_out(signed_in):
    await signed_in.post("/app/logout", headers={"Sec-Fetch-Site": "cross-site"})
    assert (await signed_in.get("/app/")).status_code == 200


async def test_over_https_the_cookie_is_bound_to_the_host(server, sessions, issue_token):
    async with in_process(server, "http://127.0.0.1:8000") as api:
        app = Starlette(routes=build_routes(api, secure=True, sessions=sessions))
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="https://konsil.example") as https:
            answer = await https.post("/app/login", data={"token": await issue_token()})
    assert answer.headers["set-cookie"].startswith("__Host-konsil=")
    assert "; Secure" in answer.headers["set-cookie"]


async def test_every_answer_forbids_script_frames_sniffing_and_keeping(signed_in):
    for path in ("/app/", "/app/login", "/app/nothing-here", "/app/static/konsil.css"):
        headers = (await signed_in.get(path)).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe-inline" not in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
