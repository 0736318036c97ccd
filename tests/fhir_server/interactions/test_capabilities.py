from fhir_server.definitions import RESOURCE_TYPES


async def test_metadata_needs_no_token_and_names_every_type(client):
    response = await client.get("metadata", headers={"Authorization": ""})
    assert response.status_code == 200
    statement = response.json()
    assert (statement["resourceType"], statement["fhirVersion"]) == ("CapabilityStatement", "4.0.1")
    assert {resource["type"] for resource in statement["rest"][0]["resource"]} == RESOURCE_TYPES


async def test_every_search_parameter_of_a_type_is_listed(client):
    statement = (await client.get("metadata")).json()
    patient = next(entry for entry in statement["rest"][0]["resource"] if entry["type"] == "Patient")
    assert {"identifier", "birthdate", "_id", "_lastUpdated"} <= {one["name"] for one in patient["searchParam"]}


async def test_the_statement_is_itself_a_valid_resource(client):
    statement = (await client.get("metadata")).json()
    assert (await client.post("CapabilityStatement", json=statement)).status_code == 201


async def test_every_interaction_listed_has_a_route(client):
    statement = (await client.get("metadata")).json()
    basic = next(entry for entry in statement["rest"][0]["resource"] if entry["type"] == "Basic")
    requests = {
        "read": ("GET", "Basic/x"),
        "vread": ("GET", "Basic/x/_history/1"),
        "update": ("PUT", "Basic/x"),
        "patch": ("PATCH", "Basic/x"),
        "delete": ("DELETE", "Basic/x"),
        "history-instance": ("GET", "Basic/x/_history"),
        "history-type": ("GET", "Basic/_history"),
        "create": ("POST", "Basic"),
        "search-type": ("GET", "Basic"),
    }
    assert {one["code"] for one in basic["interaction"]} == requests.keys()
    for method, url in requests.values():
        assert (await client.request(method, url)).status_code != 405
