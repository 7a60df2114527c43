#!/bin/sh
# What a fresh Debian machine needs before anything else: packages, then the virtual environment.
# Both steps do nothing when there is nothing to do. Output: one line for each stage.
set -eu
cd "$(dirname "$0")/.."

# Python finds it so, too.
HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d : -f 6)}
export HOME

total=$(($(grep -c import_playbook playbooks/site.yml 2>/dev/null || true) + 6))
cache="${HOME}/.cache/kubedcos"
log="${cache}/logs/setup.log"
mkdir -p "${cache}/logs"

packages="ca-certificates conntrack curl git iproute2 iptables mmdebstrap netavark nftables \
openssh-client openssl podman python3 python3-venv rsync runc skopeo util-linux"

say() { printf '%s\n' "$*" >&2; }

fail() {
  say "setup: $1; the last lines of ${log}:"
  tail -n 20 "${log}" >&2
  exit 1
}

for tool in apt-get dpkg-query; do
  command -v "${tool}" >/dev/null || {
    say "setup: found no ${tool}; wanted Debian 12, on which everything is installed by it"
    exit 2
  }
done

missing=""
for package in ${packages}; do
  dpkg-query --show --showformat='${db:Status-Status}' "${package}" 2>/dev/null |
    grep -qx installed || missing="${missing} ${package}"
done
if [ -n "${missing}" ]; then
  started=$(date +%s)
  say "stage 1 of ${total} · packages ·${missing}"
  if [ "$(id -u)" != 0 ]; then
    say "setup: installing packages needs root; run: apt-get install${missing}"
    exit 2
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update >"${log}" 2>&1 || fail "apt-get update failed"
  # shellcheck disable=SC2086  the list is meant to be split
  apt-get install --yes --no-install-recommends ${missing} >>"${log}" 2>&1 ||
    fail "apt-get install failed"
  say "stage 1 of ${total} · packages · done after $(($(date +%s) - started)) s"
fi

# The stamp names what was installed; another lock file, Python or folder means: install anew.
wanted=$(
  {
    cat constraints.txt pyproject.toml
    python3 --version
    pwd
  } | sha256sum | cut -d ' ' -f 1
)
stamp=.venv/.installed
if [ "$(cat "${stamp}" 2>/dev/null || true)" != "${wanted}" ]; then
  started=$(date +%s)
  say "stage 2 of ${total} · Python environment · .venv from constraints.txt"
  rm -f "${stamp}"
  [ -x .venv/bin/python ] || python3 -m venv .venv >"${log}" 2>&1 || fail "python3 -m venv failed"
  if command -v uv >/dev/null 2>&1; then
    uv pip install --quiet --python .venv/bin/python --constraint constraints.txt \
      --editable . --group control --group dev >"${log}" 2>&1 || fail "uv pip install failed"
  else
    # --group came with pip 25.1, which Debian 12 does not have.
    {
      .venv/bin/python -m pip --version || .venv/bin/python -m ensurepip
      .venv/bin/python -m pip install --quiet 'pip>=25.1,<27'
    } >"${log}" 2>&1 || fail "pip failed"
    .venv/bin/python -m pip install --quiet --no-compile --constraint constraints.txt \
      --editable . --group control --group dev >>"${log}" 2>&1 || fail "pip install failed"
  fi
  printf '%s\n' "${wanted}" >"${stamp}"
  say "stage 2 of ${total} · Python environment · done after $(($(date +%s) - started)) s"
fi
