"""Secrets are taken out wherever they hide, and nothing else is."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedcos.redaction import REDACTED, Redactor, secret_name

KEY = """-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY/PuoAoGCCqGSM49
-----END EC PRIVATE KEY-----"""
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUd\n-----END CERTIFICATE-----"
JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IiJ9.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJlLW9mLWl0"
KUBECONFIG = f"""
users:
- name: admin
  user:
    client-certificate-data: {base64.b64encode(CERTIFICATE.encode()).decode()}
    client-key-data: {base64.b64encode(KEY.encode()).decode()}
"""


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (KEY, "MHcCAQEE"),
        (f"key: |\n{KEY.splitlines()[0]}\nMHcCAQEEcut off", "MHcCAQEE"),
        (KUBECONFIG, base64.b64encode(KEY.encode()).decode()[40:80]),
        (f"loaded {JWT} for kubelet", "c2lnbmF0dXJl"),
        ("Authorization: Bearer 0123456789abcdef", "0123456789abcdef"),
        ("authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("joined with abcdef.0123456789abcdef", "0123456789abcdef"),
        ("zk://admin:hunter22@10.0.0.1:2181/mesos", "hunter22"),
        ("password=hunter22 user=ann", "hunter22"),
        ('{"db_password": "hunter 22"}', "hunter 22"),
        ("export MESOS_SECRET='hunter22'", "hunter22"),
        ("etcd --token hunter22 --data-dir /x", "hunter22"),
        ("--client-secret=hunter22", "hunter22"),
        ("encryptionKey: aGVsbG8gd29ybGQ=", "aGVsbG8gd29ybGQ"),
    ],
)
def test_texts_that_look_like_secrets(text: str, secret: str) -> None:
    shown = Redactor().text(text)
    assert secret not in shown
    assert REDACTED in shown


@pytest.mark.parametrize(
    "text",
    [
        CERTIFICATE,
        "deploy: etcd-0:[server] is PENDING: needs 3 cpus in region dc-b; best offer there: 2.1",
        "task kube-node-0-kubelet__0b2d6f3e-12ab-4c56-89ef-0123456789ab ended",
        "secret_file: /etc/kubedcos/secret",
        "https://10.0.0.1:8443/v1/clusters",
        "the tokens of tasks are used once",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Redactor().text(text) == text


def test_certificates_in_a_kubeconfig_stay() -> None:
    assert base64.b64encode(CERTIFICATE.encode()).decode() in Redactor().text(KUBECONFIG)


def test_values_under_names_of_secrets() -> None:
    found = Redactor().data(
        {
            "mesos": {"secret": "a", "secret_file": "/s", "principal": "p"},
            "items": [{"apiKey": "b", "count": 3}],
            "token_count": 4,
            "empty": {"password": ""},
        }
    )
    assert found == {
        "mesos": {"secret": REDACTED, "secret_file": "/s", "principal": "p"},
        "items": [{"apiKey": REDACTED, "count": 3}],
        "token_count": 4,
        "empty": {"password": ""},
    }


def test_names_of_secrets() -> None:
    for name in ("password", "bindPassword", "client-key-data", "operator_token", "kubeconfig"):
        assert secret_name(name)
    for name in ("secret_file", "tokens_count", "monkey", "keyboard", "author"):
        assert not secret_name(name)


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=8, max_size=60)
    .map(str.strip)
    .filter(lambda text: len(text) >= 8)
)
def test_known_secrets_are_found_in_every_form(secret: str) -> None:
    redactor = Redactor([secret])
    assert redactor.text(f"<{secret}>") == f"<{REDACTED}>" or secret not in redactor.text(secret)
    forms = [
        secret,
        json.dumps(secret),
        quote(secret, safe=""),
        base64.b64encode(secret.encode()).decode(),
        base64.urlsafe_b64encode(secret.encode()).decode(),
    ]
    for form in forms:
        assert form.strip('"=') not in redactor.text(f"before {form} after"), form


def test_a_key_is_found_line_by_line() -> None:
    body = KEY.splitlines()[1]
    assert body not in Redactor([KEY]).text(f"log: {body}")
