"""Peers of other makers: python-hl7 from the test requirements, node-hl7-client and node-hl7-server from npm."""

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

PEERS = Path(__file__).parent / "peers"
_NODE_PACKAGES = ("node-hl7-client@3", "node-hl7-server@2")


@pytest.fixture(scope="session")
def node_peers(request) -> Path:
    """The folder with node_modules, filled by npm once; the test is skipped where npm cannot do that."""
    folder = Path(request.config.cache.mkdir("hl7v2-node-peers"))
    if (folder / "node_modules" / "node-hl7-server").exists():
        return folder
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip("npm and node are not installed, so node-hl7-client and node-hl7-server cannot be had")
    command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run([*command, *_NODE_PACKAGES], capture_output=True, text=True, check=False, timeout=90)
    if done.returncode:
        pytest.skip(f"npm could not install {' and '.join(_NODE_PACKAGES)}: {done.stderr[-300:]}")
    return folder


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
