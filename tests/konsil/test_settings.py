from pathlib import Path

import pytest
from pydantic import ValidationError

from konsil.settings import Settings, is_loopback, problems


def test_every_setting_says_what_it_is():
    assert all(field.description for field in Settings.model_fields.values())


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("KONSIL_PORT", "9000")
    monkeypatch.setenv("KONSIL_TRUSTED_HOSTS", '["a.example", "b.example"]')
    monkeypatch.setenv("KONSIL_LOG_LEVEL", "WARNING")
    settings = Settings()
    assert (settings.port, settings.trusted_hosts, settings.log_level) == (9000, ("a.example", "b.example"), "warning")


def test_an_option_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("KONSIL_PORT", "9000")
    assert Settings(port=9001).port == 9001


def test_the_address_of_the_fhir_api_follows_the_settings():
    assert Settings(port=81).fhir_url == "http://127.0.0.1:81/fhir"
    assert Settings(host="::1", port=81).fhir_url == "http://[::1]:81/fhir"
    assert Settings(base_url="https://konsil.example/").fhir_url == "https://konsil.example/fhir"


@pytest.mark.parametrize("wrong", [{"port": 70000}, {"base_url": "konsil.example"}, {"log_level": "loud"}, {"prot": 1}])
def test_a_value_that_means_nothing_is_refused(wrong):
    with pytest.raises(ValidationError):
        Settings(**wrong)


def test_a_password_in_the_database_url_is_not_shown():
    assert "secret" not in repr(Settings(database_url="postgresql://konsil:secret@db/konsil"))


def test_an_unknown_variable_is_a_problem_and_the_nearest_is_named():
    (problem,) = problems(Settings(), {"KONSIL_MLPP_PORT": "1", "KONSIL_TEST_DATABASE_URL": "x", "HOME": "/"})
    assert "KONSIL_MLPP_PORT" in problem
    assert "KONSIL_MLLP_PORT" in problem


@pytest.mark.parametrize(
    "unsafe",
    [{"host": "0.0.0.0"}, {"trusted_hosts": ("*",)}, {"port": 2575}],  # noqa: S104 - it is what is refused
)
def test_what_is_unsafe_is_a_problem(unsafe):
    assert len(problems(Settings(**unsafe), {})) == 1


def test_plain_http_beyond_loopback_is_in_order_behind_a_tls_proxy():
    behind = Settings(host="0.0.0.0", base_url="https://konsil.example")  # noqa: S104 - behind a proxy
    assert problems(behind, {}) == []
    alone = Settings(host="10.0.0.1", allow_plain_http=True)
    assert problems(alone, {}) == []


def test_loopback_is_told_from_the_rest():
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "10.0.0.1", "db")] == [True] * 3 + [
        False
    ] * 2


def test_data_lives_in_var_for_an_ordinary_user(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert Settings().data_dir == Path("var")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert Settings().data_dir == Path("/var/lib/konsil")


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"mllp_host": "10.0.0.1"}, "in the clear"),
        ({"mllp_tls_certificate": "a.pem"}, "go together"),
        ({"mllp_tls_client_ca": "ca.pem"}, "means nothing without"),
    ],
)
def test_mllp_that_is_plain_or_half_secured_is_a_problem(given, word):
    (problem,) = problems(Settings(**given), {})
    assert word in problem
