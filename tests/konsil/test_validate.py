import json

from typer.testing import CliRunner

from fhir_server.kernel.models import model_issues
from konsil.cli import app
from programmes.load import definition


def _run(tmp_path, content):
    file = tmp_path / "resource.json"
    file.write_text(content)
    return CliRunner().invoke(app, ["validate", str(file)])


def test_a_valid_resource_is_called_valid(tmp_path):
    done = _run(tmp_path, '{"resourceType":"Patient","birthDate":"1961-04-12"}')
    assert done.exit_code == 0
    assert "valid" in done.output


def test_a_fault_is_named_with_its_place_and_without_its_value(tmp_path):
    done = _run(tmp_path, '{"resourceType":"Patient","birthDate":"yesterday"}')
    assert done.exit_code == 1
    assert "Patient.birthDate" in done.output
    assert "yesterday" not in done.output


def test_a_file_that_is_no_json_is_refused_with_line_and_column(tmp_path):
    done = _run(tmp_path, '{"resourceType":\n  "Patient",}')
    assert done.exit_code == 1
    assert "line 2" in done.output


def test_the_models_find_the_same_kind_of_fault_at_the_same_element():
    issues = model_issues({"resourceType": "Patient", "name": [{"family": ["Alvarez"]}]})
    assert [issue.expression for issue in issues] == ["Patient.name[0].family"]


def test_a_type_without_a_model_is_said_to_have_none():
    assert model_issues({"resourceType": "EffectEvidenceSynthesis"}) is None


def test_the_programmes_that_come_with_the_house_satisfy_both_validators(tmp_path):
    for resource in definition("harbor"):
        done = _run(tmp_path, json.dumps(resource, default=float))
        assert done.exit_code == 0, done.output
