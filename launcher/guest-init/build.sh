#!/bin/sh
# Builds the guest's init into build/ (or the folder given): static, because nothing else is in the first root, and the
# same bytes from the same compiler. Prefers musl, which makes it small; any C compiler that links statically will do.
set -eu
cd "$(dirname "$0")"
folder=${1:-build}
mkdir -p "$folder"
made=$folder/init.$$
trap 'rm -f "$made"' EXIT
for compiler in ${CC:-musl-gcc gcc cc}; do
  command -v "$compiler" >/dev/null || continue
  if "$compiler" -std=gnu17 -O2 -Wall -Wextra -static -s -Wl,--build-id=none -o "$made" \
    init.c report.c files.c json.c modules.c seed.c network.c accounts.c hostkey.c mounts.c ssh.c; then
    # In one step, so that whoever builds or uses it at the same time sees all of it or none.
    mv "$made" "$folder/init"
    exit 0
  fi
done
echo 'no C compiler that links statically was found' >&2
exit 1
