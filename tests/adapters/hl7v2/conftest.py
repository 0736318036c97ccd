"""Peers of other makers: python-hl7 from the test requirements, node-hl7-client and node-hl7-server from npm."""

import shutil
import socket
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

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


@dataclass(frozen=True)
class Issued:
    certificate: Path
    key: Path
    fingerprint: str


class Authority:
    """``Authority(folder, "ca").issue("engine.lakeside.example")``."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        certificate = (
            self._draft(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(certificate.public_bytes(Encoding.PEM))

    def issue(self, name: str, *, days: int = 1) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ip_address("127.0.0.1"))])
        certificate = (
            self._draft(_named(name), key, days).add_extension(names, critical=False).sign(self._key, hashes.SHA256())
        )
        paths = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
        paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return Issued(*paths, f"sha256:{certificate.fingerprint(hashes.SHA256()).hex()}")

    def _draft(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int = 1) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + timedelta(days=days))
        )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@pytest.fixture
def new_authority(tmp_path):
    """``new_authority("a-ca").issue("engine.example")`` → a certificate and its key, as PEM files."""
    return lambda name: Authority(tmp_path, name)


@pytest.fixture
def authority(new_authority):
    return new_authority("hospital-ca")


@pytest.fixture
def ours(authority):
    """The server's certificate."""
    return authority.issue("konsil.example")
