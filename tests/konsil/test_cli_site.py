"""``konsil site`` as an interface analyst runs it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from konsil.cli_site import app

ROOT = Path(__file__).parents[2]


@pytest.fixture
def konsil_site(monkeypatch):
    monkeypatch.setenv("KONSIL_SITES_DIR", str(ROOT / "sites"))
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_the_samples_of_the_example_site_are_in_order(konsil_site):
    done = konsil_site("test", "lakeside")
    assert done.exit_code == 0, done.output
    assert "admission.hl7: in order" in done.output


def test_a_sample_that_cannot_be_mapped_fails_the_test_with_its_place(konsil_site, monkeypatch, tmp_path):
    folder = tmp_path / "lakeside"
    (folder / "tests").mkdir(parents=True)
    (folder / "site.yaml").write_text((ROOT / "sites/lakeside/site.yaml").read_text())
    sample = (ROOT / "sites/lakeside/tests/admission.hl7").read_bytes().replace(b"00483921^^^LAKESIDE^MR", b"")
    (folder / "tests/nobody.hl7").write_bytes(sample)
    monkeypatch.setenv("KONSIL_SITES_DIR", str(tmp_path))
    done = konsil_site("test", "lakeside")
    assert (done.exit_code, "PID^1^3" in done.output) == (1, True)


def test_explain_names_value_row_layer_and_path(konsil_site):
    done = konsil_site("explain", ROOT / "sites/lakeside/tests/admission.hl7", "--site", "lakeside")
    assert done.exit_code == 0
    [line] = [line for line in done.output.splitlines() if line.startswith("PID-7 ")]
    assert line.split() == ["PID-7", "19610412", "segments/PID.Patient/pid7", "base", "Patient.birthDate"]


def test_an_unknown_site_is_named_with_the_known_ones(konsil_site):
    done = konsil_site("test", "nowhere")
    assert "known are lakeside" in str(done.exception)
