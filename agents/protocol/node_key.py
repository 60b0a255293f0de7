"""Node keys: who enrolled and where, under a keyed MAC, so that a check-in is recognised without I/O.

The form is `INSTALLATION.HOST.EPOCH.TAG.MAC`, urlsafe text. The installation names a database and the tag the host's
identifier: an id that a lost or restored database gives out once more belongs to another tag, and a key of before never
speaks for the host that has the id now. Keys of the older form `HOST.EPOCH.MAC` still verify; the board tells whom they
may speak for. Nothing in the database could be used as a key.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from typing import NamedTuple

MAC_BYTES = 18
TAG_BYTES = 4
LONGEST = 128  # characters of a key that is looked at
_CLAIM = re.compile(rf"(?:([0-9a-z]{{1,32}})\.)?([0-9]{{1,19}})\.([0-9]{{1,10}})(?:\.([0-9a-f]{{{2 * TAG_BYTES}}}))?")


class Enrolled(NamedTuple):
    """What a key says beside the host's number: the installation that knows it, and the tag of its identifier."""

    installation: str
    tag: bytes


OLD_FORM = Enrolled("", b"")


def nobody(installation: str) -> tuple[int, int, Enrolled]:
    """Give what a key says that is sound and speaks for no host: host 0, which no database has, and the empty tag.

    With it the whole way of a read can be tried, without being handed any host's work.
    """
    return 0, 1, Enrolled(installation, bytes(TAG_BYTES))


class Identity(NamedTuple):
    """Who a valid key says is asking; `secret` is the place of its secret in the list, 0 the newest."""

    host: int
    epoch: int
    secret: int
    enrolled: Enrolled = OLD_FORM


class NodeKeys:
    """Issue and verify keys under a list of secrets, newest first: old ones verify, the newest signs."""

    def __init__(self, secrets: list[str]) -> None:
        if not all(secrets):
            raise ValueError("an empty secret would let anybody make node keys")
        self._secrets = [hashlib.sha256(b"node key:" + secret.encode()).digest() for secret in secrets]

    def issue(self, host: int, epoch: int, enrolled: Enrolled = OLD_FORM) -> str:
        """Give the key of one enrollment of a host; without `enrolled` one of the older form, which none is given."""
        claim = f"{host}.{epoch}"
        if enrolled != OLD_FORM:
            claim = f"{enrolled.installation}.{claim}.{enrolled.tag.hex()}"
        return f"{claim}.{_mac(self._secrets[0], claim)}"

    def verify(self, key: object) -> Identity | None:
        """Give who signed in with `key`; None for anything that is not a key made with one of the secrets."""
        if not isinstance(key, str) or len(key) > LONGEST or not key.isascii():
            return None
        claim, _, mac = key.rpartition(".")
        for place, secret in enumerate(self._secrets):
            if hmac.compare_digest(_mac(secret, claim), mac):
                return _identity(claim, place)
        return None


def tag_of(host_identifier: str) -> bytes:
    """Give what tells a host from another one that has its number in another life of the database; never all zero."""
    digest = hashlib.blake2b(host_identifier.encode(), digest_size=TAG_BYTES).digest()
    return digest if any(digest) else digest[:-1] + b"\1"


def _identity(claim: str, place: int) -> Identity | None:
    found = _CLAIM.fullmatch(claim)
    if found is None or (found[1] is None) != (found[4] is None):
        return None
    enrolled = OLD_FORM if found[1] is None else Enrolled(found[1], bytes.fromhex(found[4]))
    return Identity(int(found[2]), int(found[3]), place, enrolled)


def _mac(secret: bytes, claim: str) -> str:
    digest = hashlib.blake2b(claim.encode(), key=secret, digest_size=MAC_BYTES).digest()
    return urlsafe_b64encode(digest).decode()
