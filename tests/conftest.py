"""What tests of several kinds need: certificates that live as long as a test."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from hypothesis import settings

# In `make test` the same examples each time; deep looks elsewhere each time, and longer.
settings.register_profile("deep", deadline=None, max_examples=5000)
settings.register_profile("default", deadline=None, derandomize=True)
settings.load_profile("default")

# Mesos' default ciphers need RSA.
_BITS = 2048


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


class Authority:
    """Signs certificates; its own is in `file`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = rsa.generate_private_key(65537, _BITS)
        self._name = _named("test authority")
        basic = x509.BasicConstraints(ca=True, path_length=None)
        certificate = self._builder(self._name, self._key, basic).sign(self._key, hashes.SHA256())
        self.file = directory / "ca.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(
        self, subject: x509.Name, key: rsa.RSAPrivateKey, basic: x509.BasicConstraints
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(basic, critical=True)
        )

    def issue(self, name: str, *names: str, addresses: tuple[str, ...] = ()) -> dict[str, str]:
        """Mesos' variables for a new key and certificate in the files `name`."""
        key = rsa.generate_private_key(65537, _BITS)
        known = [
            *map(x509.DNSName, names),
            *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
        ]
        basic = x509.BasicConstraints(ca=False, path_length=None)
        builder = self._builder(_named(name), key, basic)
        if known:
            builder = builder.add_extension(x509.SubjectAlternativeName(known), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        files = {what: self._directory / f"{name}.{what}" for what in ("cert", "key")}
        files["cert"].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files["key"].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return {
            "LIBPROCESS_SSL_ENABLED": "1",
            "LIBPROCESS_SSL_CERT_FILE": str(files["cert"]),
            "LIBPROCESS_SSL_KEY_FILE": str(files["key"]),
            "LIBPROCESS_SSL_CA_FILE": str(self.file),
        }


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first: begun last, it would run alone while other workers idle."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Signs the certificates of one run of the tests."""
    return Authority(tmp_path_factory.mktemp("authority"))
