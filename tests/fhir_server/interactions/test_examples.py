"""What the pages of the interactions show is what the server does.

An example is a request (line, headers, body), a blank line, the status, and what the answer has in its headers or body.
"""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"
PAGES = [*sorted((DOCS / "interactions").glob("*.md")), DOCS / "formats.md"]
EXAMPLE = re.compile(r"```text\n(.*?)\n\n(\d{3})\n(.*?)```", re.DOTALL)
HEADER = re.compile(r"([A-Z][A-Za-z-]+): (.*)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
async def test_the_examples_of_a_page_are_true(client, fresh_database_url, page):
    text = page.read_text()
    examples = EXAMPLE.findall(text)
    assert len(examples) == text.count("```text") >= 1
    for request, status, told in examples:
        first, *lines = request.splitlines()
        method, _, url = first.partition(" ")
        headers = {}
        while lines and (header := HEADER.fullmatch(lines[0])):
            headers[header[1]] = header[2]
            lines.pop(0)
        response = await client.request(method, url, headers=headers, content="\n".join(lines) or None)
        assert (first, response.status_code) == (first, int(status)), response.text
        answer = "\n".join(f"{name.title()}: {value}" for name, value in response.headers.items())
        answer = answer.replace("Etag:", "ETag:") + "\n" + response.text
        assert [line for line in told.splitlines() if line not in answer] == []
