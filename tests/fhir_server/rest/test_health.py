import httpx

from fhir_server.rest.app import build_app


async def test_liveness_readiness_and_metrics_answer_without_a_token(client):
    await client.get("Patient/absent")
    assert (await client.get("http://127.0.0.1/health/live")).json() == {"status": "live"}
    assert (await client.get("http://127.0.0.1/health/ready")).status_code == 200
    metrics = (await client.get("http://127.0.0.1/metrics")).text
    assert 'fhir_requests_total{interaction="read",status="404"} 1' in metrics
    assert 'fhir_request_seconds_count{interaction="read"} 1' in metrics
    assert "absent" not in metrics


async def test_not_ready_when_a_dependency_is_away(database):
    async def away():
        return False

    app = build_app(database, base_url="http://127.0.0.1/fhir", checks={"database": away})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1") as client:
        response = await client.get("/health/ready")
        assert (response.status_code, response.json()["checks"]) == (503, {"database": False})
        assert (await client.get("/health/live")).status_code == 200
