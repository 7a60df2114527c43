#!/bin/sh
# Write constraints.txt from pyproject.toml. A release must be a week old before it is taken.
set -eu
cd "$(dirname "$0")/.."
uv pip compile --quiet --python-version 3.11 --upgrade \
  --exclude-newer "$(date --utc --date '7 days ago' +%Y-%m-%dT00:00:00Z)" \
  --group control --group dev --no-header \
  --output-file constraints.new pyproject.toml
{
  echo "# Exact versions of everything that runs on a control machine; written by \`make lock\`."
  cat constraints.new
} >constraints.txt
rm -f constraints.new
