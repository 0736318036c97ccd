import base64
import copy
import stat
from decimal import Decimal

import pytest

from cases.signature import InvalidSignature, Signer, canonical, signature, verify
from fhir_server.kernel import json
from fhir_server.kernel.errors import InvalidRequest

WHO, WHEN = "Practitioner/hannah-cole", "2026-03-10T16:00:00-04:00"


@pytest.fixture
def signer(tmp_path):
    return Signer.open(tmp_path / "keys")


@pytest.fixture
def bundle():
    return {
        "resourceType": "Bundle",
        "id": "b1",
        "type": "document",
        "entry": [
            {
                "resource": {
                    "resourceType": "Composition",
                    "title": "Überblick",
                    "attester": [{"mode": "legal", "time": WHEN, "party": {"reference": WHO, "display": "Dr Cole"}}],
                }
            },
            {"resource": {"resourceType": "Observation", "valueQuantity": {"value": Decimal("1.00")}}},
        ],
    }


def sealed(bundle, signer, **changes):
    signed = signature(bundle, signer, who=WHO, when=WHEN)
    return {"resourceType": "Provenance", "signature": [signed | changes]}


def test_a_signed_document_verifies_and_names_its_key(bundle, signer):
    assert verify(bundle, sealed(bundle, signer), signer.jwks()) == signer.key_id


def test_the_servers_own_id_and_meta_on_the_document_do_not_break_the_signature(bundle, signer):
    provenance = sealed(bundle, signer)
    stored = bundle | {"id": "other", "meta": {"versionId": "1", "lastUpdated": WHEN}}
    assert verify(stored, provenance, signer.jwks()) == signer.key_id


def test_the_signature_survives_a_round_trip_through_json_text(bundle, signer):
    provenance = json.decode(json.encode(sealed(bundle, signer)))
    assert verify(json.decode(json.encode(bundle)), provenance, signer.jwks()) == signer.key_id


def test_canonical_form_orders_names_and_keeps_decimals_as_written(bundle):
    text = canonical(bundle).decode()
    assert text.startswith('{"entry":[{"resource":{"attester":[{"mode":"legal","party":{"display":')
    assert '"value":1.00' in text
    assert "Überblick" in text
    assert '"id"' not in text


def test_every_single_changed_byte_of_the_document_fails(bundle, signer):
    provenance = sealed(bundle, signer)
    raw = bytearray(json.encode(bundle))
    refused = 0
    for position in range(raw.index(b"Composition"), len(raw)):
        changed = bytearray(raw)
        changed[position] ^= 0x01
        try:
            document = json.decode(bytes(changed))
        except InvalidRequest:  # no longer JSON: there is nothing left to verify
            continue
        with pytest.raises(InvalidSignature):
            verify(document, provenance, signer.jwks())
        refused += 1
    assert refused > 100


def test_a_decimal_of_other_precision_fails(bundle, signer):
    provenance = sealed(bundle, signer)
    changed = copy.deepcopy(bundle)
    changed["entry"][1]["resource"]["valueQuantity"]["value"] = Decimal("1.0")
    with pytest.raises(InvalidSignature, match="differs from what was signed"):
        verify(changed, provenance, signer.jwks())


@pytest.mark.parametrize(
    "change",
    [
        {"who": {"reference": "Practitioner/somebody-else"}},
        {"when": "2026-03-11T16:00:00-04:00"},
        {"targetFormat": "application/fhir+json"},
        {"sigFormat": "image/png"},
        {"data": "not base64!"},
        {"data": base64.b64encode(b"a.b").decode()},
        {"data": base64.b64encode(b"\xff..\xff").decode()},
    ],
)
def test_a_changed_signature_element_fails(bundle, signer, change):
    with pytest.raises(InvalidSignature):
        verify(bundle, sealed(bundle, signer, **change), signer.jwks())


@pytest.mark.parametrize("header", [{"alg": "none"}, {"alg": "HS256"}, {"alg": "ES256"}])
def test_a_signature_under_another_algorithm_or_without_key_id_fails(bundle, signer, header):
    protected = base64.urlsafe_b64encode(json.encode(header)).rstrip(b"=").decode()
    real = signer.sign(canonical(bundle)).split(".")[2]
    forged = base64.b64encode(f"{protected}..{real}".encode()).decode()
    with pytest.raises(InvalidSignature):
        verify(bundle, sealed(bundle, signer, data=forged), signer.jwks())


def test_another_servers_key_does_not_verify(bundle, signer, tmp_path):
    stranger = Signer.open(tmp_path / "stranger")
    with pytest.raises(InvalidSignature):
        verify(bundle, sealed(bundle, signer), stranger.jwks())


def test_a_provenance_without_signature_says_so(bundle, signer):
    with pytest.raises(InvalidSignature, match="no author's signature"):
        verify(bundle, {"resourceType": "Provenance"}, signer.jwks())


def test_a_document_that_does_not_open_with_a_composition_fails(signer):
    bundle = {"resourceType": "Bundle", "type": "document", "entry": []}
    with pytest.raises(InvalidSignature, match="Composition"):
        verify(bundle, sealed(bundle, signer), signer.jwks())


def test_the_key_is_made_once_and_only_its_owner_may_read_it(tmp_path):
    folder = tmp_path / "data" / "keys"
    first, again = Signer.open(folder), Signer.open(folder)
    assert first.key_id == again.key_id
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_published_key_set_holds_no_private_part(signer):
    (key,) = signer.jwks()["keys"]
    assert "d" not in key
    assert (key["kid"], key["alg"], key["use"], key["crv"]) == (signer.key_id, "ES256", "sig", "P-256")
