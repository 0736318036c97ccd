"""The page in a real browser: hostile data neither runs nor calls anywhere."""

import asyncio
import shutil
import socket
import sys

import pytest
import uvicorn

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=3000",
    "--dump-dom",
)
HOSTILE = (
    "<script>document.title='RAN'</script><img src=x onerror=\"document.title='RAN'\">"
    "<svg onload=\"document.title='RAN'\"></svg>"
    "<a id=trap href=javascript:1 autofocus onfocus=document.title='RAN'>x</a>"
    "<link rel=stylesheet href=http://127.0.0.1:{port}/leak><img src=http://127.0.0.1:{port}/leak>"
)


@pytest.fixture
def listening():
    """A bound loopback socket; its port is the address of the server under test."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        yield held


@pytest.fixture
async def leaks():
    """A server nobody should ever call; the port and what called it."""
    seen: list[bytes] = []

    async def remember(reader, writer):
        seen.append(await reader.readline())
        writer.close()

    server = await asyncio.start_server(remember, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], seen
    server.close()
    await server.wait_closed()


async def served(app, held, work):
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    running = asyncio.create_task(server.serve(sockets=[held]))
    try:
        return await work()
    finally:
        server.should_exit = True
        await running


async def test_hostile_data_neither_runs_nor_calls_anywhere(
    server, sessions, write, story, make, issue_token, listening, leaks, tmp_path
):
    leak_port, called = leaks
    hostile = HOSTILE.format(port=leak_port)
    await write(story("delivered", name=hostile, question=hostile, answer=hostile))
    await write([make.record_task("ngs", hostile, "cancelled", why=hostile)])
    code = sessions.link(await issue_token())
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/app/login?code={code}&next=/app/cases/case"

    async def browse():
        process = await asyncio.create_subprocess_exec(
            CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path}", url, stdout=asyncio.subprocess.PIPE, stderr=sys.stderr
        )
        output, _ = await asyncio.wait_for(process.communicate(), 90)
        return output.decode()

    dom = await served(server, listening, browse)
    assert "<h1>SO-2026-000042</h1>" in dom
    assert "&lt;script&gt;" in dom
    assert "RAN</title>" not in dom
    assert 'id="trap"' not in dom
    assert called == []
