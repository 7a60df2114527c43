"""What a service logs: one line for each event, without secrets."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import logging
from kubedcos import log

recent = log.set_up(log.Form({form!r}), "INFO", ["s3cret-of-the-service"])
say = logging.getLogger("kubedcos.scheduler")
say.info("%s: launched %s", "k1", "etcd-0", extra={{"cluster": "k1", "operator": "ann@here"}})
say.debug("too much")
say.error("token=abcdefgh and s3cret-of-the-service")
import structlog
structlog.get_logger("kubedcos.delivery").bind(task_id="t__1").warning(
    "key material refused", reason="token=abcdefgh"
)
try:
    raise ValueError("password: hunter22")
except ValueError:
    say.exception("it ended")
assert len(recent.lines()) == 4, recent.lines()
assert "s3cret" not in "".join(recent.lines())
"""


def said(form: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(form=form)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    for secret in ("s3cret", "abcdefgh", "hunter22"):
        assert secret not in done.stderr
    return done.stderr.splitlines()


def test_programs_get_an_object_for_each_line() -> None:
    lines = [json.loads(line) for line in said("json")]
    assert len(lines) == 4
    assert lines[0]["event"] == "k1: launched etcd-0"
    assert (lines[0]["level"], lines[0]["logger"]) == ("info", "kubedcos.scheduler")
    assert (lines[0]["cluster"], lines[0]["operator"]) == ("k1", "ann@here")
    assert lines[0]["timestamp"].endswith("Z")
    assert (lines[2]["task_id"], lines[2]["reason"]) == ("t__1", "token=[redacted]")
    assert lines[2]["logger"] == "kubedcos.delivery"
    assert "ValueError" in lines[3]["exception"]


def test_people_get_a_sentence_for_each_line() -> None:
    lines = said("console")
    assert lines[0] == "INFO kubedcos.scheduler: k1: launched etcd-0 [operator='ann@here']"
    assert lines[1].startswith("ERROR kubedcos.scheduler: token=[redacted]")
    assert lines[2] == (
        "WARNING kubedcos.delivery: key material refused"
        " [reason='token=[redacted]', task_id='t__1']"
    )
    assert lines[3] == "ERROR kubedcos.scheduler: it ended"
    assert lines[4] == "Traceback (most recent call last):"
