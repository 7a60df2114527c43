#!/bin/sh
# Every linter, one after the other; all of them run, and one that complains fails the whole.
set -u
cd "$(dirname "$0")/.."
status=0

check() {
  printf '  %s\n' "$*" >&2
  "$@" || status=1
}

check ruff check --quiet .
check ruff format --quiet --check .
check mypy
check lint-imports --no-logo
check yamllint --strict .
check ansible-lint --offline -q
exit "${status}"
