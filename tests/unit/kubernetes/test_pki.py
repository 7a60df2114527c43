"""Authorities issue what their policy says, whatever a request asks for."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from kubedcos.errors import InvalidInput
from kubedcos.kubernetes.pki import DAY, Authority, Profile, new_key, request_public_key
from kubedcos.kubernetes.vault import Ca, FileSecretStore, MemorySecretStore, Vault

from .parts import NOW, FakeClock, signing_request

PROFILE = Profile(
    "kube-apiserver", dns_names=("apiserver.k.mesos",), addresses=("10.0.0.1",), server=True
)


def test_a_certificate_says_what_the_profile_says() -> None:
    authority = Authority.create("test CA", NOW)
    profile = Profile("u", organizations=("g1", "g2"), client=True, lifetime=2 * DAY)
    pem = authority.issue(new_key().public_key(), profile, NOW)
    certificate = x509.load_pem_x509_certificate(pem)
    groups = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert [group.value for group in groups] == ["g1", "g2"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert certificate.not_valid_after_utc.timestamp() == NOW + 2 * DAY
    assert certificate.not_valid_before_utc.timestamp() < NOW
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_server_is_trusted_under_its_names_by_its_own_authority_only() -> None:
    one, other = Authority.create("one", NOW), Authority.create("other", NOW)
    leaf = x509.load_pem_x509_certificate(one.issue(new_key().public_key(), PROFILE, NOW))

    def verify(authority: Authority, name: str) -> None:
        store = Store([x509.load_pem_x509_certificate(authority.certificate_pem)])
        builder = PolicyBuilder().store(store).time(leaf.not_valid_before_utc)
        builder.build_server_verifier(x509.DNSName(name)).verify(leaf, [])

    verify(one, "apiserver.k.mesos")
    with pytest.raises(VerificationError):
        verify(one, "elsewhere.mesos")
    with pytest.raises(VerificationError):
        verify(other, "apiserver.k.mesos")


def test_only_the_key_of_a_request_counts() -> None:
    csr = signing_request("system:masters").encode()
    authority = Authority.create("test CA", NOW)
    pem = authority.issue(request_public_key(csr, "r"), Profile("u", client=True), NOW)
    assert b"system:masters" not in pem
    names = x509.load_pem_x509_certificate(pem).subject
    assert names.rfc4514_string() == "CN=u"


def _rsa_request() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _tampered_request() -> bytes:
    der = bytearray(
        x509.load_pem_x509_csr(signing_request().encode()).public_bytes(serialization.Encoding.DER)
    )
    der[der.index(b"server")] ^= 1
    return x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize("make", [lambda: b"nonsense", _rsa_request, _tampered_request])
def test_a_bad_request_is_refused(make) -> None:
    with pytest.raises(InvalidInput, match="ECDSA P-256 key, signed by that key"):
        request_public_key(make(), "requests.server")


def test_keys_do_not_show_in_representations() -> None:
    pair = Authority.create("test CA", NOW).pair
    assert "KEY" not in repr(pair)


def test_a_vault_gives_the_same_secrets_after_a_restart(tmp_path) -> None:
    def secrets() -> tuple[object, ...]:
        vault = Vault(FileSecretStore(tmp_path / "v"), "k", FakeClock())
        authorities = tuple(vault.authority(ca).pair for ca in Ca)
        return (*authorities, vault.service_account_key(), vault.encryption_key())

    assert secrets() == secrets()


def test_authorities_of_a_cluster_differ() -> None:
    vault = Vault(MemorySecretStore(), "k", FakeClock())
    assert len({vault.authority(ca).certificate_pem for ca in Ca}) == len(Ca)


def test_files_of_secrets_are_for_their_owner_alone(tmp_path) -> None:
    store = FileSecretStore(tmp_path / "v")
    store.put("a.b-c_d", b"1")
    store.put("a.b-c_d", b"2")
    assert store.get("a.b-c_d") == b"2"
    assert (tmp_path / "v").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "v" / "a.b-c_d").stat().st_mode & 0o777 == 0o600
    assert list(store.names()) == ["a.b-c_d"]
    store.delete("a.b-c_d")
    store.delete("a.b-c_d")
    assert store.get("a.b-c_d") is None


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "a b"])
def test_a_name_cannot_leave_the_folder(tmp_path, name: str) -> None:
    with pytest.raises(ValueError, match="not a name of a secret"):
        FileSecretStore(tmp_path / "v").put(name, b"")


def test_destroyed_secrets_are_gone() -> None:
    vault = Vault(MemorySecretStore(), "k", FakeClock())
    before = vault.authority(Ca.CLUSTER).certificate_pem
    vault.destroy()
    assert list(vault.store.names()) == []
    assert vault.authority(Ca.CLUSTER).certificate_pem != before
