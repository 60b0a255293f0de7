"""The demo's own CA and server certificate, with the names agents check."""

import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fleet.demo.address import is_address, known_as

CA_DAYS, SERVER_DAYS, RENEW_DAYS = 3650, 397, 30


class Certificates:
    """Files in one folder: `ca.pem`, `server.pem` and their keys, made the first time and renewed in time."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.ca, self._ca_key = folder / "ca.pem", folder / "ca-key.pem"
        self.server, self.server_key = folder / "server.pem", folder / "server-key.pem"

    def make(self, bind: str) -> None:
        """Make what is missing, soon over, or without a name the server is reached by."""
        names = _names(bind)
        if not self.ca.exists():
            self._make_ca()
        if not self.server.exists() or not _is_good(self.server.read_bytes(), names):
            self._make_server(names)

    def _make_ca(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _subject("Fleet Live Queries demo CA")
        builder = _builder(name, name, key.public_key(), CA_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(ca=True), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        _write(self._ca_key, _pem(key))
        _write(self.ca, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _make_server(self, names: list[x509.GeneralName]) -> None:
        ca = x509.load_pem_x509_certificate(self.ca.read_bytes())
        ca_key = serialization.load_pem_private_key(self._ca_key.read_bytes(), None)
        if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{self._ca_key} holds another kind of key")
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_subject("Fleet Live Queries demo"), ca.subject, key.public_key(), SERVER_DAYS)
        for extension, critical in (
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (x509.SubjectAlternativeName(names), False),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False),
        ):
            builder = builder.add_extension(extension, critical)
        _write(self.server_key, _pem(key))
        _write(self.server, builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def _names(bind: str) -> list[x509.GeneralName]:
    return [
        x509.IPAddress(ipaddress.ip_address(name)) if is_address(name) else x509.DNSName(name)
        for name in known_as(bind)
    ]


def _is_good(pem: bytes, names: list[x509.GeneralName]) -> bool:
    certificate = x509.load_pem_x509_certificate(pem)
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    lasts = certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=RENEW_DAYS)
    return lasts and set(names) <= set(found)


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=days))


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
