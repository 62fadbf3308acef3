#!/bin/sh
# Compiles the package into dist/: TypeScript by tsc, and the small native programs where their callers look for them.
set -eu
cd "$(dirname "$0")/.."
export PATH="$PWD/node_modules/.bin:$PATH"
rm -rf dist
tsc -p tsconfig.build.json
for folder in mpi-bridge/starter launcher/guest-init launcher/osv-compat; do
  [ -f "$folder/build.sh" ] || continue
  sh "$folder/build.sh"
  mkdir -p "dist/$folder"
  cp -R "$folder/build" "dist/$folder/build"
done
