#!/bin/sh
# Every linter, side by side; all of them run, and the last line names those that complained.
set -u
cd "$(dirname "$0")/.."
said=$(mktemp -d)
trap 'rm -rf "${said}"' EXIT
# What runs in the background does not hear a terminal's interrupt.
trap 'kill $(jobs -p) 2>/dev/null; exit 130' INT TERM

number=0
check() {
  number=$((number + 1))
  printf '  %s\n' "$*" >&2
  { "$@" >"${said}/${number}.output" 2>&1 || printf '%s\n' "$*" >"${said}/${number}.failed"; } &
}

check mypy
check ansible-lint --offline -q
check ruff check --quiet .
check ruff format --quiet --check .
check lint-imports --no-logo
check yamllint --strict .
wait
cat "${said}"/*.output
if cat "${said}"/*.failed >"${said}/failed" 2>/dev/null; then
  printf 'lint: failed: %s\n' "$(paste -s -d , "${said}/failed" | sed 's/,/, /g')" >&2
  exit 1
fi
