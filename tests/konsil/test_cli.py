import subprocess
import sys

import pytest


def _konsil(*arguments, **variables):
    command = [sys.executable, "-m", "konsil.cli", *arguments]
    done = subprocess.run(
        command, env={"PATH": "/usr/bin:/bin", **variables}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "command", [[], ["serve"], ["migrate"], ["user", "token"], ["user", "revoke"], ["check-config"]]
)
def test_every_command_has_help_with_an_example(command):
    status, out, _ = _konsil(*command, "--help")
    assert status == 0
    assert not command or "Example: konsil" in out


def test_check_config_says_what_is_wrong_and_ends_with_1():
    status, _, errors = _konsil("check-config", KONSIL_HOST="0.0.0.0", KONSIL_PROT="1")  # noqa: S104 - refused
    assert status == 1
    assert "TLS" in errors
    assert "KONSIL_PORT" in errors


def test_check_config_is_content_with_the_defaults():
    assert _konsil("check-config")[0] == 0


def test_a_value_that_means_nothing_names_its_variable():
    status, _, errors = _konsil("check-config", KONSIL_PORT="eighty")
    assert (status, errors.startswith("konsil: KONSIL_PORT")) == (1, True)


def test_a_scope_that_means_nothing_gives_no_token(database_url):
    status, out, errors = _konsil(
        "user", "token", "Patient/1", "--scope", "user/Pateint.rs", KONSIL_DATABASE_URL=database_url
    )
    assert (status, out) == (1, "")
    assert "Patient" in errors


def test_a_token_is_alone_on_standard_output_and_can_be_revoked(database_url):
    command = ("user", "token", "Practitioner/1", "--scope", "user/Patient.rs", "--lifetime", "8h")
    status, out, _ = _konsil(*command, KONSIL_DATABASE_URL=database_url)
    assert status == 0
    assert len(out.split()) == 1
    revoke = [sys.executable, "-m", "konsil.cli", "user", "revoke"]
    options = {"env": {"KONSIL_DATABASE_URL": database_url}, "input": out, "text": True, "capture_output": True}
    assert subprocess.run(revoke, check=False, **options).returncode == 0
    assert subprocess.run(revoke, check=False, **options).returncode == 1


def test_a_lifetime_that_means_nothing_is_refused(database_url):
    command = ("user", "token", "system", "--scope", "system/*.rs", "--lifetime", "forever")
    status, _, errors = _konsil(*command, KONSIL_DATABASE_URL=database_url)
    assert (status, "--lifetime" in errors) == (1, True)


def test_check_config_names_a_certificate_that_cannot_be_used(tmp_path):
    names = {"KONSIL_MLLP_TLS_CERTIFICATE": str(tmp_path / "a.pem"), "KONSIL_MLLP_TLS_KEY": str(tmp_path / "a.key")}
    status, _, errors = _konsil("check-config", **names)
    assert (status, len(errors.splitlines())) == (1, 1)
    assert "a.pem cannot be used" in errors


def test_check_config_refuses_a_report_that_would_travel_in_the_clear(tmp_path):
    (tmp_path / "hill").mkdir()
    (tmp_path / "hill" / "site.yaml").write_text(
        "hl7v2:\n  senders: [{application: A, facility: B}]\n"
        "  destinations: {report: {host: ehr.example, port: 2576}}\n"
    )
    status, _, errors = _konsil("check-config", KONSIL_SITES_DIR=str(tmp_path))
    assert status == 1
    assert "hill/report would get patient data in the clear" in errors
