"""A certificate for this machine, which signs itself."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key.

    Args:
        authority: file of the certificate alone, for who is to trust it.
        pair: file of the certificate and its private key, for the server.
    """

    authority: Path
    pair: Path

    def context(self) -> ssl.SSLContext:
        """What a server in Python speaks TLS with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pair)
        return context


def certificate(folder: Path) -> Certificate:
    """Make one for 127.0.0.1."""
    pytest.importorskip("cryptography", reason="it makes the certificate of the test")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    public = signed.public_bytes(pem)
    made = Certificate(folder / "authority.pem", folder / "pair.pem")
    made.authority.write_bytes(public)
    made.pair.write_bytes(public + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return made
