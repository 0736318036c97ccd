"""Every interaction is offered for every resource type, and denied by default.

https://hl7.org/fhir/R4/http.html and https://hl7.org/fhir/R4/resourcelist.html
"""

from fhir_server.definitions import RESOURCE_TYPES


def _requests(resource_type):
    address = f"{resource_type}/absent"
    return {
        "read": ("GET", address, 404),
        "vread": ("GET", f"{address}/_history/1", 404),
        "history": ("GET", f"{address}/_history", 404),
        "search": ("GET", f"{resource_type}?_id=absent", 200),
        "search by POST": ("POST", f"{resource_type}/_search", 200),
        "delete": ("DELETE", address, 204),
    }


async def _answers(client, resource_type, **options):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for name, (method, path, expected) in _requests(resource_type).items():
        headers = options.get("headers", {}) | (form if method == "POST" else {})
        yield name, (await client.request(method, path, headers=headers)).status_code, expected


async def test_every_type_answers_every_interaction(client):
    for resource_type in sorted(RESOURCE_TYPES):
        async for name, status, expected in _answers(client, resource_type):
            assert (resource_type, name, status) == (resource_type, name, expected)


async def test_every_type_is_denied_to_a_token_without_a_scope_for_it(client, issue_token):
    for granted, denied in (("Basic", RESOURCE_TYPES - {"Basic"}), ("Patient", {"Basic"})):
        headers = {"Authorization": f"Bearer {await issue_token('Practitioner/1', f'user/{granted}.cruds')}"}
        for resource_type in sorted(denied):
            async for name, status, _ in _answers(client, resource_type, headers=headers):
                assert (resource_type, name, status) == (resource_type, name, 403)
            body = {"resourceType": resource_type, "id": "absent"}
            made = await client.post(resource_type, json=body, headers=headers)
            assert (resource_type, made.status_code) == (resource_type, 403)
            assert (await client.put(f"{resource_type}/absent", json=body, headers=headers)).status_code == 403
