"""Every operation has its page, and what the pages show is what the server does."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "operations"
OPERATIONS = sorted(path.stem for path in (ROOT / "fhir_server" / "operations").glob("*.py") if path.stem != "__init__")
EXAMPLE = re.compile(
    r"```text\n(?P<method>[A-Z]+) (?P<url>\S+)\n(?P<body>.*?)\n(?P<status>\d{3})\n(?P<rest>.*?)```", re.DOTALL
)
STEP = re.compile(r"[^.\[\]]+|\[\d+\]")


def look_up(value, path):
    for step in STEP.findall(path):
        value = value[int(step[1:-1])] if step.startswith("[") else value[step]
    return value


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_has_its_test_and_its_page(name):
    assert (ROOT / "tests" / "fhir_server" / "operations" / f"test_{name}.py").is_file()
    assert (PAGES / f"{name}.md").is_file()


def test_every_page_is_about_an_operation():
    assert sorted(path.stem for path in PAGES.glob("*.md")) == OPERATIONS


@pytest.mark.parametrize("name", OPERATIONS)
async def test_the_examples_of_a_page_are_true(client, fresh_database_url, name):
    for resource_type in ("Patient", "Practitioner"):
        await client.put(f"{resource_type}/example", json={"resourceType": resource_type, "id": "example"})
    page = (PAGES / f"{name}.md").read_text()
    examples = list(EXAMPLE.finditer(page))
    assert len(examples) == page.count("```text")
    for example in examples:
        body = example["body"].strip()
        headers = {"Content-Type": f"application/fhir+{'xml' if body.startswith('<') else 'json'}"} if body else {}
        response = await client.request(example["method"], example["url"], content=body or None, headers=headers)
        assert (example["url"], response.status_code) == (example["url"], int(example["status"])), response.text
        for line in filter(None, example["rest"].splitlines()):
            path, _, expected = line.partition(" = ")
            assert (path, look_up(response.json(), path)) == (path, json.loads(expected))
