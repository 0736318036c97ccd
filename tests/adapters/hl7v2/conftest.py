"""Peers of other makers: python-hl7 from the test requirements, node-hl7-client and node-hl7-server from npm."""

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from adapters.hl7v2.receive import Intake
from adapters.hl7v2.sites import Sites, site_from
from fhir_server.kernel.subject import Subject

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


SITE = {
    "senders": [{"application": "*", "facility": "LAKESIDE"}],
    "mapping": {
        "zone": "America/New_York",
        "namespace": "https://lakeside.example",
        "mrn": ["LAKESIDE"],
        "authorities": {
            "LAKESIDE": {
                "MR": "https://lakeside.example/mrn",
                "VN": "https://lakeside.example/visit",
                "PLAC": "https://lakeside.example/placer",
                "FILL": "https://lakeside.example/filler",
            },
            "NPI": "http://hl7.org/fhir/sid/us-npi",
        },
    },
}


@pytest.fixture
def site_settings() -> dict:
    """The ``hl7v2`` section of LAKESIDE's site.yaml."""
    return SITE


@pytest.fixture
def site():
    """``site(acknowledge="enhanced")`` → the hospital LAKESIDE with some settings changed."""
    return lambda **changes: site_from("lakeside", {**SITE, **changes})


@pytest.fixture
def adt():
    """``adt("M1", event="A03", mrn="1")`` → the bytes of an ADT message; ``msh`` is what follows MSH-12."""

    def message(
        control_id: str, *, event="A01", mrn="00483921", visit="V-1", when="20260302080000", city="PROVIDENCE", msh="",
        facility="LAKESIDE", family="ALVAREZ", out="",
    ) -> bytes:  # fmt: skip
        return (
            f"MSH|^~\\&|EHR|{facility}|KONSIL|HARBOR|{when}||ADT^{event}^ADT_A01|{control_id}|P|2.5.1{msh}\r"
            f"EVN|{event}|{when}\r"
            f"PID|1||{mrn}^^^LAKESIDE^MR||{family}^MARIA||19610412|F|||18 BENEFIT ST^^{city}^RI^02903\r"
            f"PV1|1|I|4W^412^A{'|' * 16}{visit}^^^LAKESIDE^VN{'|' * 25}{when}|{out}\r"
        ).encode()

    return message


@pytest.fixture
def oru():
    """``oru("M1", status="F", value="0.8")`` → the bytes of an ORU^R01 with one creatinine."""

    def message(
        control_id: str, *, status="F", value="0.8", mrn="00483921", when="20260302090000", filler="F-1", msh=""
    ) -> bytes:
        return (
            f"MSH|^~\\&|LAB|LAKESIDE|KONSIL|HARBOR|{when}||ORU^R01^ORU_R01|{control_id}|P|2.5.1{msh}\r"
            f"PID|1||{mrn}^^^LAKESIDE^MR||ALVAREZ^MARIA||19610412|F\r"
            f"OBR|1|P-{filler}^LAKESIDE|{filler}^LAKESIDE|2160-0^Creatinine^LN|||{when}{'|' * 15}{when}|||{status}\r"
            f"OBX|1|NM|2160-0^Creatinine^LN||{value}|mg/dL|0.5-1.1||||{status}|||{when}\r"
        ).encode()

    return message


@pytest.fixture
def intake(database, site):
    """What the server hands messages to, for LAKESIDE alone."""
    return Intake(database, Sites([site()]))


@pytest.fixture
def everything():
    """A Subject that may look at everything, to see what messages became."""
    return Subject.system("test", "system/*.rs")
