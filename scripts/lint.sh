#!/bin/sh
# Every linter, one after the other; all of them run, and the last line names those that complained.
set -u
cd "$(dirname "$0")/.."
failed=""

check() {
  printf '  %s\n' "$*" >&2
  "$@" || failed="${failed}${failed:+, }$*"
}

check ruff check --quiet .
check ruff format --quiet --check .
check mypy
check lint-imports --no-logo
check yamllint --strict .
check ansible-lint --offline -q
if [ -n "${failed}" ]; then
  printf 'lint: failed: %s\n' "${failed}" >&2
  exit 1
fi
