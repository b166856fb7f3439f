"""A certificate of the stand-in's own for the vendors' host names, made anew when it is missing or stale.

Knows X.509. Refuses to be trusted: it is signed by itself, and a browser has to be told to accept it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["ensure"]

#: browsers refuse server certificates that are valid for longer than 398 days
_LIFE = timedelta(days=390)


def ensure(folder: Path, hosts: Iterable[str]) -> tuple[Path, Path]:
    """Paths of a certificate and its key for these hosts, valid for at least another day. Raises OSError."""
    certificate, key = folder / "standin.pem", folder / "standin.key"
    names = sorted(set(hosts))
    if not (key.exists() and _usable(certificate, names)):
        folder.mkdir(parents=True, exist_ok=True)
        _make(certificate, key, names)
    return certificate, key


def _usable(path: Path, names: list[str]) -> bool:
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
        covered = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    fresh = found.not_valid_after_utc - datetime.now(UTC) > timedelta(days=1)
    return fresh and set(names) <= set(covered.get_values_for_type(x509.DNSName))


def _make(certificate: Path, key: Path, names: list[str]) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "consentmw demo stand-in")])
    now = datetime.now(UTC)
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives.append(x509.IPAddress(ip_address("127.0.0.1")))
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )
    # The key first: a half-written pair is then found unusable and made again.
    key.touch(mode=0o600)
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
