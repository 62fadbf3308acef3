#!/bin/sh
# Makes the package in dist/: the bundle, and what its modules look for beside themselves.
set -eu
cd "$(dirname "$0")/.."
export PATH="$PWD/node_modules/.bin:$PATH"
rm -rf dist
node launcher/bundle.ts
for folder in mpi-bridge/starter launcher/guest-init launcher/osv-compat; do
  [ -f "$folder/build.sh" ] || continue
  sh "$folder/build.sh"
  mkdir -p "dist/$folder"
  cp -R "$folder/build" "dist/$folder/build"
done
mkdir -p dist/launcher/bench
launcher/bin/leet completion man >dist/leet-mpirun.1
# leet bench compiles it with the user's MPI.
cp launcher/bench/micro.c dist/launcher/bench/
