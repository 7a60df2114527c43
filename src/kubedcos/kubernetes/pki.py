"""Certificates: authorities of a cluster, and what they issue to whom.

Keys are ECDSA P-256. An authority looks only at the public key of a signing request; names, usages
and lifetime come from our own policy, so that a request cannot ask for more than it is due.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kubedcos.errors import InvalidInput, Problem

DAY = 86_400.0
HOUR = 3_600.0
AUTHORITY_LIFETIME = 3650 * DAY
COMPONENT_LIFETIME = 365 * DAY
_BACKDATE = timedelta(minutes=5)  # hosts' clocks differ


@dataclass(frozen=True, slots=True)
class Profile:
    """What a certificate says: the authority's policy for one holder.

    Attributes:
        common_name: Kubernetes' user name, for clients.
        organizations: Kubernetes' groups, for clients.
        dns_names: names that a server answers to.
        addresses: IP addresses that a server answers at.
        server: may serve TLS.
        client: may log in.
        lifetime: seconds.
    """

    common_name: str
    organizations: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    server: bool = False
    client: bool = False
    lifetime: float = COMPONENT_LIFETIME


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate_pem: bytes
    key_pem: bytes

    def __repr__(self) -> str:
        """Without the key, so that no log can show it."""
        return "KeyPair(…)"


class Authority:
    """A certificate authority: certificate and private key."""

    def __init__(self, pair: KeyPair) -> None:
        self._certificate = x509.load_pem_x509_certificate(pair.certificate_pem)
        key = serialization.load_pem_private_key(pair.key_pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("an authority's key is an EC key")
        self._key = key
        self.pair = pair

    @classmethod
    def create(cls, common_name: str, now: float) -> Authority:
        """A new self-signed authority, valid for ten years from `now` (seconds since 1970)."""
        key = new_key()
        name = _name(Profile(common_name))
        builder = _dated(x509.CertificateBuilder(), now, AUTHORITY_LIFETIME)
        certificate = (
            builder.subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .sign(key, hashes.SHA256())
        )
        return cls(KeyPair(_pem(certificate), private_key_pem(key)))

    @property
    def certificate_pem(self) -> bytes:
        """The authority's own certificate; public."""
        return self.pair.certificate_pem

    def issue(self, public_key: ec.EllipticCurvePublicKey, profile: Profile, now: float) -> bytes:
        """A certificate (PEM) for `public_key` that says what `profile` says."""
        builder = (
            _dated(x509.CertificateBuilder(), now, profile.lifetime)
            .subject_name(_name(profile))
            .issuer_name(self._certificate.subject)
            .public_key(public_key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), False)
        )
        usages = []
        if profile.server:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        if profile.client:
            usages.append(ExtendedKeyUsageOID.CLIENT_AUTH)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if names := _alternative_names(profile):
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return _pem(builder.sign(self._key, hashes.SHA256()))

    def issue_pair(self, profile: Profile, now: float) -> KeyPair:
        """A new key and its certificate, for holders within this process."""
        key = new_key()
        return KeyPair(self.issue(key.public_key(), profile, now), private_key_pem(key))


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def private_key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS #8 PEM without password."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def request_public_key(csr_pem: bytes, where: str) -> ec.EllipticCurvePublicKey:
    """The public key of a signing request whose holder proved to have the private key.

    Raises:
        InvalidInput: not a request, not P-256, or not signed by its own key.
    """
    wanted = "a PEM certificate signing request with an ECDSA P-256 key, signed by that key"
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        key = request.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
            raise InvalidInput([Problem(where, "another kind of key", wanted, id="bad-csr")])
        if not request.is_signature_valid:
            raise InvalidInput([Problem(where, "a wrong signature", wanted, id="bad-csr")])
    except (ValueError, InvalidSignature):
        raise InvalidInput([Problem(where, "something else", wanted, id="bad-csr")]) from None
    return key


def _name(profile: Profile) -> x509.Name:
    parts = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in profile.organizations
    ]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, profile.common_name)])


def _alternative_names(profile: Profile) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in profile.dns_names]
    return names + [x509.IPAddress(ip_address(address)) for address in profile.addresses]


def _dated(
    builder: x509.CertificateBuilder, now: float, lifetime: float
) -> x509.CertificateBuilder:
    start = datetime.fromtimestamp(now, UTC)
    return (
        builder.serial_number(x509.random_serial_number())
        .not_valid_before(start - _BACKDATE)
        .not_valid_after(start + timedelta(seconds=lifetime))
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
