"""Node keys: host id, epoch and a keyed MAC, so that a check-in is recognised without I/O.

The form is `HOST.EPOCH.MAC`, urlsafe text. Nothing in the database could be used as a key.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from typing import NamedTuple

MAC_BYTES = 18
LONGEST = 128  # characters of a key that is looked at


class Identity(NamedTuple):
    """Who a valid key says is asking; `secret` is the place of its secret in the list, 0 the newest."""

    host: int
    epoch: int
    secret: int


class NodeKeys:
    """Issue and verify keys under a list of secrets, newest first: old ones verify, the newest signs."""

    def __init__(self, secrets: list[str]) -> None:
        if not all(secrets):
            raise ValueError("an empty secret would let anybody make node keys")
        self._secrets = [hashlib.sha256(b"node key:" + secret.encode()).digest() for secret in secrets]

    def issue(self, host: int, epoch: int) -> str:
        """Give the key of one enrollment of a host."""
        return f"{host}.{epoch}.{_mac(self._secrets[0], f'{host}.{epoch}')}"

    def verify(self, key: object) -> Identity | None:
        """Give who signed in with `key`; None for anything that is not a key made with one of the secrets."""
        if not isinstance(key, str) or len(key) > LONGEST or not key.isascii():
            return None
        claim, _, mac = key.rpartition(".")
        for place, secret in enumerate(self._secrets):
            if hmac.compare_digest(_mac(secret, claim), mac):
                host, _, epoch = claim.partition(".")
                return Identity(int(host), int(epoch), place)
        return None


def _mac(secret: bytes, claim: str) -> str:
    digest = hashlib.blake2b(claim.encode(), key=secret, digest_size=MAC_BYTES).digest()
    return urlsafe_b64encode(digest).decode()
