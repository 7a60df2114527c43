#!/bin/sh
# What CI runs, cheap checks first. Each part says how long it took; the first failure ends it.
set -eu
cd "$(dirname "$0")/.."

number=0
total=7
part() {
  number=$((number + 1))
  name="$1"
  shift
  started=$(date +%s)
  printf 'part %s of %s · %s\n' "${number}" "${total}" "${name}" >&2
  "$@"
  printf 'part %s of %s · %s · done after %s s\n' \
    "${number}" "${total}" "${name}" "$(($(date +%s) - started))" >&2
}

# A file's tests share what they start, so a file stays with one worker.
spread() { pytest --quiet --dist loadfile --numprocesses "$@"; }

part lint sh scripts/lint.sh
part unit spread 2 tests/unit
part templates pytest --quiet tests/templates
# Half of their time they wait.
part contracts spread 4 tests/contracts
part 'published clients' pytest --quiet tests/foreign
part simulation spread 2 tests/simulation
part 'whole lab' molecule test
