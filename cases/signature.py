"""Sign a document Bundle with a detached JWS in ``Provenance.signature``, and verify it.

What is signed is the canonical form ``http://hl7.org/fhir/canonicalization/json#document``: the Bundle without its
root ``id`` and ``meta`` (a server sets those), properties in code point order, no white space, decimals as written.
https://hl7.org/fhir/R4/json.html#canonical, https://hl7.org/fhir/R4/datatypes.html#Signature and RFC 7515 appendix F
"""

import base64
import binascii
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joserfc import jws
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import ECKey, KeySet

from fhir_server.kernel import json
from fhir_server.kernel.errors import Unprocessable

ALGORITHM = "ES256"
CANONICALIZATION = "http://hl7.org/fhir/canonicalization/json#document"
TARGET_FORMAT = f"application/fhir+json;canonicalization={CANONICALIZATION}"
SIGNATURE_FORMAT = "application/jose"
AUTHOR_SIGNATURE = {
    "system": "urn:iso-astm:E1762-95:2013",
    "code": "1.2.840.10065.1.12.1.1",
    "display": "Author's Signature",
}


class InvalidSignature(Unprocessable):
    """422: the document, its Provenance or the key is not what was signed."""


@dataclass(frozen=True, slots=True)
class Signer:
    """The key that signs reports; ``key_id`` is its RFC 7638 thumbprint."""

    key: ECKey
    key_id: str

    @classmethod
    def open(cls, directory: Path) -> "Signer":
        """Return the signer kept in ``directory``; the first call makes the key (file mode 0600, folder 0700).

        Safe when several processes start together: the first file to appear wins.
        """
        path = directory / "report-signing-key.json"
        if not path.exists():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            key = ECKey.generate_key("P-256", {"use": "sig", "alg": ALGORITHM})
            _write_once(path, json.encode(key.as_dict(private=True)))
        key = ECKey.import_key(json.decode(path.read_bytes()))
        return cls(key, key.thumbprint())

    def sign(self, payload: bytes) -> str:
        """Return the detached compact JWS (``header..signature``) over ``payload``."""
        header = {"alg": ALGORITHM, "kid": self.key_id, "cty": "application/fhir+json"}
        return str(jws.detach_content(jws.serialize_compact(header, payload, self.key, algorithms=[ALGORITHM])))

    def jwks(self) -> dict[str, Any]:
        """Return the public key as a JWK Set, ready to publish."""
        return {"keys": [{**self.key.as_dict(private=False), "kid": self.key_id, "use": "sig", "alg": ALGORITHM}]}


def canonical(bundle: Mapping[str, Any]) -> bytes:
    """Return the bytes of ``bundle`` that are signed."""
    return json.encode(_ordered({name: value for name, value in bundle.items() if name not in ("id", "meta")}))


def signature(bundle: Mapping[str, Any], signer: Signer, *, who: str, when: str) -> dict[str, Any]:
    """Return a FHIR Signature over ``bundle``; ``who`` is the signing Practitioner, ``when`` an instant."""
    return {
        "type": [AUTHOR_SIGNATURE],
        "when": when,
        "who": {"reference": who},
        "targetFormat": TARGET_FORMAT,
        "sigFormat": SIGNATURE_FORMAT,
        "data": base64.b64encode(signer.sign(canonical(bundle)).encode()).decode(),
    }


def verify(bundle: Mapping[str, Any], provenance: Mapping[str, Any], jwks: Mapping[str, Any]) -> str:
    """Return the id of the key that signed ``bundle``. Raises InvalidSignature naming the check that failed.

    Beyond the bytes, the signer and time in the Provenance must be the document's own legal attester: those two stand
    outside the signed bytes, the attester inside.
    """
    found = _jose_signature(provenance)
    key_id = _verify_bytes(canonical(bundle), found, jwks)
    attested = {
        (str(attester.get("party", {}).get("reference")), str(attester.get("time")))
        for attester in _composition(bundle).get("attester", [])
        if attester.get("mode") == "legal"
    }
    if (str(found.get("who", {}).get("reference")), str(found.get("when"))) not in attested:
        raise InvalidSignature(
            "The Provenance names another signer or time than the document's legal attester.",
            expression="Provenance.signature.who",
        )
    return key_id


def _verify_bytes(payload: bytes, found: Mapping[str, Any], jwks: Mapping[str, Any]) -> str:
    expression = "Provenance.signature.data"
    try:
        text = base64.b64decode(str(found.get("data", "")), validate=True).decode("ascii")
        checked = jws.deserialize_compact(text, _key_set(jwks), algorithms=[ALGORITHM], payload=payload)
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidSignature("The signature is not a base64 compact JWS.", expression=expression) from error
    except (JoseError, ValueError) as error:
        raise InvalidSignature(f"The signature does not verify: {_reason(error)}.", expression=expression) from error
    if checked.headers().get("kid") is None:
        raise InvalidSignature("The signature names no key (kid).", expression=expression)
    return str(checked.headers()["kid"])


def _reason(error: Exception) -> str:
    return "the document differs from what was signed" if isinstance(error, BadSignatureError) else str(error)


def _key_set(jwks: Mapping[str, Any]) -> KeySet:
    keys: Sequence[Mapping[str, Any]] = jwks.get("keys", [])
    return KeySet([ECKey.import_key(dict(key)) for key in keys if key.get("kty") == "EC" and key.get("kid")])


def _jose_signature(provenance: Mapping[str, Any]) -> Mapping[str, Any]:
    for found in provenance.get("signature", []):
        codes = {coding.get("code") for coding in found.get("type", [])}
        if found.get("sigFormat") == SIGNATURE_FORMAT and AUTHOR_SIGNATURE["code"] in codes:
            if found.get("targetFormat") != TARGET_FORMAT:
                raise InvalidSignature(
                    f"The signature's target format is not '{TARGET_FORMAT}'.",
                    expression="Provenance.signature.targetFormat",
                )
            checked: Mapping[str, Any] = found
            return checked
    raise InvalidSignature("The Provenance carries no author's signature.", expression="Provenance.signature")


def _composition(bundle: Mapping[str, Any]) -> Mapping[str, Any]:
    entries: Sequence[Mapping[str, Any]] = bundle.get("entry", [])
    first: Mapping[str, Any] = entries[0].get("resource", {}) if entries else {}
    if first.get("resourceType") != "Composition":
        raise InvalidSignature("The document does not begin with a Composition.", expression="Bundle.entry[0]")
    return first


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _ordered(value[name]) for name in sorted(value)}
    if isinstance(value, list | tuple):
        return [_ordered(item) for item in value]
    return value


def _write_once(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        return  # another process was first: its key is the key
    finally:
        draft.unlink()
