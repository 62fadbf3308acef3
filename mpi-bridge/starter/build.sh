#!/bin/sh
# Builds leet-starter into build/ (or the folder given): static, so that it runs in any guest, and the same bytes from
# the same compiler. Prefers musl, which makes it small; any C compiler that can link statically will do.
set -eu
cd "$(dirname "$0")"
folder=${1:-build}
mkdir -p "$folder"
made=$folder/leet-starter.$$
trap 'rm -f "$made"' EXIT
for compiler in ${CC:-musl-gcc gcc cc}; do
  command -v "$compiler" >/dev/null || continue
  if "$compiler" -std=c17 -O2 -Wall -static -s -Wl,--build-id=none -o "$made" starter.c; then
    # In one step, so that whoever runs or builds it at the same time sees all of it or none.
    mv "$made" "$folder/leet-starter"
    exit 0
  fi
done
echo 'no C compiler that links statically was found' >&2
exit 1
