"""MLLP over TLS on real sockets, with certificates of a CA made for the test: who is served, and as which site."""

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest

from adapters.hl7v2.ack import Acknowledgement, acknowledge
from adapters.hl7v2.client import DeliveryError, MllpClient
from adapters.hl7v2.header import Header
from adapters.hl7v2.receive import Intake
from adapters.hl7v2.server import Limits, MllpServer
from adapters.hl7v2.sites import Destination, InvalidSite, Sites, site_from
from adapters.hl7v2.tls import InvalidCertificate, client_context, server_context


class Recorder:
    """A receiver that remembers who sent."""

    def __init__(self) -> None:
        self.peers = []

    async def receive(self, raw, peer):
        self.peers.append(peer)
        return acknowledge(Header.parse(raw), "AA")

    async def discard(self, _raw, _peer, _reason):
        return None


@contextlib.asynccontextmanager
async def serving(receiver, tls, **limits):
    server = MllpServer(receiver, "127.0.0.1", 0, tls=tls, limits=Limits(**limits))
    await server.start()
    try:
        yield server.address[1]
    finally:
        await server.stop(grace_s=2)


def destination(port: int, ca: Path | None, **settings) -> Destination:
    return Destination("test", "127.0.0.1", port, tls=True, ca=str(ca) if ca else "", connect_timeout_s=3, **settings)


def showing(issued) -> dict[str, str]:
    return {"certificate": str(issued.certificate), "key": str(issued.key)}


async def send(to: Destination, raw: bytes) -> Acknowledgement:
    return (await MllpClient(to).send(raw, "M1"))[1]


async def test_a_sender_that_trusts_our_ca_is_answered_over_tls(authority, ours, adt):
    receiver = Recorder()
    async with serving(receiver, server_context(ours.certificate, ours.key)) as port:
        assert (await send(destination(port, authority.path), adt("M1"))).code == "AA"
    assert receiver.peers[0].certificate is None


async def test_a_plain_sender_gets_nothing_from_a_tls_port(authority, ours, adt):
    receiver = Recorder()
    async with serving(receiver, server_context(ours.certificate, ours.key)) as port:
        with pytest.raises(DeliveryError):
            await send(Destination("test", "127.0.0.1", port, acknowledgement_timeout_s=1), adt("M1"))
    assert receiver.peers == []


async def test_a_receiver_whose_certificate_is_of_another_ca_gets_no_byte_of_a_message(new_authority, ours, adt):
    stranger = new_authority("stranger-ca")
    receiver = Recorder()
    async with serving(receiver, server_context(ours.certificate, ours.key)) as port:
        with pytest.raises(DeliveryError, match="CertVerification"):
            await send(destination(port, stranger.path), adt("M1"))
    assert receiver.peers == []


async def test_a_receiver_with_another_name_or_an_expired_certificate_is_not_trusted(authority, ours, adt):
    late = authority.issue("late.example", days=-1)
    async with serving(Recorder(), server_context(ours.certificate, ours.key)) as port:
        assert (await send(destination(port, authority.path, server_name="konsil.example"), adt("M1"))).code == "AA"
        with pytest.raises(DeliveryError, match="Hostname mismatch"):
            await send(destination(port, authority.path, server_name="other.example"), adt("M1"))
    async with serving(Recorder(), server_context(late.certificate, late.key)) as port:
        with pytest.raises(DeliveryError, match="expired"):
            await send(destination(port, authority.path), adt("M1"))


async def test_with_a_client_ca_nobody_without_its_certificate_is_served(authority, new_authority, ours, adt):
    receiver = Recorder()
    engine = authority.issue("engine.lakeside.example")
    impostor = new_authority("impostor-ca").issue("engine.lakeside.example2")
    async with serving(receiver, server_context(ours.certificate, ours.key, authority.path)) as port:
        for shown in ({}, showing(impostor)):
            with pytest.raises(DeliveryError):
                await send(destination(port, authority.path, acknowledgement_timeout_s=2, **shown), adt("M1"))
        assert (await send(destination(port, authority.path, **showing(engine)), adt("M1"))).code == "AA"
    [peer] = receiver.peers
    assert peer.certificate.identities == {
        engine.fingerprint, "CN=engine.lakeside.example", "DNS:engine.lakeside.example",
    }  # fmt: skip


@pytest.fixture
def hospitals(database, site_settings, authority):
    """Lakeside and Hillside, each with a certificate of its own, and a clinic that needs none."""
    lakeside, hillside = authority.issue("engine.lakeside.example"), authority.issue("engine.hillside.example")
    sites = Sites(
        [
            site_from("lakeside", {**site_settings, "certificates": [lakeside.fingerprint], "message_types": ["ADT"]}),
            site_from("hillside", {
                **site_settings, "certificates": ["CN=engine.hillside.example"],
                "senders": [{"application": "*", "facility": "HILLSIDE"}],
            }),
            site_from("clinic", {**site_settings, "senders": [{"application": "*", "facility": "CLINIC"}]}),
        ]
    )  # fmt: skip
    return Intake(database, sites), lakeside, hillside


async def test_a_certificate_sends_for_its_own_site_whatever_msh_says(hospitals, authority, ours, adt):
    intake, lakeside, hillside = hospitals
    another = authority.issue("engine.clinic.example")
    tls = server_context(ours.certificate, ours.key, authority.path)
    async with serving(intake, tls) as port:

        async def answered(issued, facility: str) -> tuple[str, bool]:
            answer = await send(destination(port, authority.path, **showing(issued)), adt("M1", facility=facility))
            return answer.code, "MSH^1^3" in answer.text

        assert (await answered(lakeside, "LAKESIDE"))[0] == "AA"
        assert (await answered(hillside, "HILLSIDE"))[0] == "AA"
        assert (await answered(another, "CLINIC"))[0] == "AA"
        for issued, facility in ((hillside, "LAKESIDE"), (lakeside, "CLINIC"), (another, "LAKESIDE")):
            assert await answered(issued, facility) == ("AR", True)


async def test_a_message_type_the_site_has_not_agreed_is_refused(hospitals, authority, ours, oru):
    intake, lakeside, _ = hospitals
    async with serving(intake, server_context(ours.certificate, ours.key, authority.path)) as port:
        answer = await send(destination(port, authority.path, **showing(lakeside)), oru("M1"))
    assert (answer.code, "MSH^1^9 200^Unsupported message type" in answer.text) == ("AR", True)


async def test_a_peer_that_never_finishes_the_handshake_holds_up_nobody(authority, ours, adt):
    async with serving(Recorder(), server_context(ours.certificate, ours.key)) as port:
        _, silent = await asyncio.open_connection("127.0.0.1", port)
        assert (await send(destination(port, authority.path), adt("M1"))).code == "AA"
        silent.close()


async def test_one_peer_cannot_take_every_connection(authority, ours, adt):
    limits = {"connections": 10, "connections_of_one_peer": 2}
    async with serving(Recorder(), server_context(ours.certificate, ours.key), **limits) as port:
        to = destination(port, authority.path, keep_connection=True)
        clients = [MllpClient(to) for _ in range(3)]
        for client in clients[:2]:
            await client.send(adt("M1"), "M1")
        with pytest.raises(DeliveryError):
            await clients[2].send(adt("M1"), "M1")
        for client in clients:
            await client.close()


def test_only_tls_1_2_and_newer_is_spoken(authority, ours):
    oldest = {server_context(ours.certificate, ours.key).minimum_version, client_context().minimum_version}
    assert oldest == {ssl.TLSVersion.TLSv1_2}


def test_files_that_cannot_be_used_are_named(authority, ours, tmp_path):
    other = authority.issue("other.example")
    absent, nonsense = tmp_path / "absent.pem", tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for certificate, key, ca in (
        (absent, ours.key, None), (ours.certificate, other.key, None), (ours.certificate, ours.key, nonsense)
    ):  # fmt: skip
        with pytest.raises(InvalidCertificate, match=r"\.(pem|key)"):
            server_context(certificate, key, ca)


def test_a_destinations_files_are_read_when_its_site_is_loaded(authority, ours, tmp_path, site_settings):
    report = {"host": "ehr.lakeside.example", "port": 2576, "tls": True, "ca": authority.path.name}
    site = site_from("lakeside", {**site_settings, "destinations": {"report": report}}, folder=tmp_path)
    assert site.destinations["report"].context() is not None
    with pytest.raises(InvalidCertificate, match="absent"):
        site_from("lakeside", {**site_settings, "destinations": {"report": report | {"ca": "absent.pem"}}})
    with pytest.raises(InvalidSite, match="tls: true"):
        site_from("lakeside", {**site_settings, "destinations": {"report": report | {"tls": False}}}, folder=tmp_path)


@pytest.mark.parametrize("changes", [{"certificates": ["engine"]}, {"certificates": "CN=a"}, {"clients": ["engine"]}])
def test_an_identity_that_could_never_match_is_refused(site_settings, changes):
    with pytest.raises(InvalidSite, match=f"hl7v2.{next(iter(changes))} is a list"):
        site_from("lakeside", {**site_settings, **changes})


def test_what_would_be_unsafe_is_told_before_anything_starts(site_settings):
    report = {"host": "ehr.lakeside.example", "port": 2576}
    sites = Sites([site_from("a", {**site_settings, "certificates": ["CN=a"], "destinations": {"report": report}})])
    assert len(sites.problems(client_certificates=False, allow_plain=False)) == 2
    assert sites.problems(client_certificates=True, allow_plain=True) == []
