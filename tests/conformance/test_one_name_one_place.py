"""Each interaction is one file, one test and one page with the same name."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INTERACTIONS = sorted(
    path.stem for path in (ROOT / "fhir_server" / "interactions").glob("*.py") if path.stem != "__init__"
)


@pytest.mark.parametrize("name", INTERACTIONS)
def test_an_interaction_has_its_test_and_its_page(name):
    assert (ROOT / "tests" / "fhir_server" / "interactions" / f"test_{name}.py").is_file()
    assert (ROOT / "docs" / "interactions" / f"{name}.md").is_file()
