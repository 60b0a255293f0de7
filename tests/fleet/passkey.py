"""A passkey in software: a key pair that signs what a page asked, as a browser and a device do together."""

import hashlib
import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor
from fido2.cose import ES256
from fido2.utils import websafe_encode
from fido2.webauthn import AttestedCredentialData, AuthenticatorData

PRESENT, VERIFIED, ATTESTED = 1, 4, 64


class Passkey:
    """One, made for a name; it answers from an origin, which a page of another site has another of."""

    def __init__(self, rp: str = "testserver", origin: str = "https://testserver") -> None:
        self.rp, self.origin = rp, origin
        self.id = hashlib.sha256(str(id(self)).encode()).digest()
        self._key = ec.generate_private_key(ec.SECP256R1())

    def made(self, options: dict[str, Any]) -> str:
        """Give what a browser sends of a passkey that was just made."""
        credential = AttestedCredentialData.create(
            b"\0" * 16, self.id, ES256.from_cryptography_key(self._key.public_key())
        )
        told = self._told(PRESENT | VERIFIED | ATTESTED, credential)
        attestation = cbor.encode({"fmt": "none", "attStmt": {}, "authData": bytes(told)})
        seen = self._seen("webauthn.create", options)
        return self._sent(clientDataJSON=seen, attestationObject=attestation)

    def signed(self, options: dict[str, Any]) -> str:
        """Give what a browser sends of a passkey that signed."""
        told, seen = bytes(self._told(PRESENT | VERIFIED)), self._seen("webauthn.get", options)
        signature = self._key.sign(told + hashlib.sha256(seen).digest(), ec.ECDSA(hashes.SHA256()))
        return self._sent(clientDataJSON=seen, authenticatorData=told, signature=signature)

    def _told(self, flags: int, credential: Any = b"") -> AuthenticatorData:
        return AuthenticatorData.create(hashlib.sha256(self.rp.encode()).digest(), flags, 1, credential)

    def _seen(self, kind: str, options: dict[str, Any]) -> bytes:
        asked = {"type": kind, "challenge": options["publicKey"]["challenge"], "origin": self.origin}
        return json.dumps(asked).encode()

    def _sent(self, **response: bytes) -> str:
        shown = websafe_encode(self.id)
        listed = {name: websafe_encode(value) for name, value in response.items()}
        return json.dumps({"id": shown, "rawId": shown, "type": "public-key", "response": listed})
