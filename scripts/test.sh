#!/bin/sh
# What CI runs, cheap checks first. Each part says how long it took; the first failure ends it.
set -eu
cd "$(dirname "$0")/.."

number=0
total=6
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

# A file's tests share what they start, so a file stays with one worker; those that are marked
# `long` begin first, where xdist would begin with those that have the most tests.
spread() { pytest --quiet --dist loadfile --no-loadscope-reorder --numprocesses "$@"; }

part lint sh scripts/lint.sh
# One more than there are processors: some wait for processes and deadlines.
part unit spread 3 tests/unit
part templates pytest --quiet tests/templates
# Half of their time they wait.
part 'contracts, published clients' spread 4 tests/contracts tests/foreign
part simulation spread 2 tests/simulation
part 'whole lab' molecule test
