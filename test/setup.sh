#!/bin/sh
# Brings what is missing: the npm packages (with the pinned Node.js) and Debian packages by group of packages.txt.
# Usage: sh test/setup.sh [GROUP...]   (all groups unless told). Says what it installs; a second run skips what is there.
# Plain sh, because on a bare machine nothing else can be relied on.
set -eu
cd "$(dirname "$0")/.."

if [ ! -x node_modules/node/bin/node ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  echo "setup: npm packages, and the pinned Node.js among them (npm ci)"
  npm ci --no-audit --no-fund --loglevel=error
fi
# Commands start faster from it; without it, or with sources that have changed since, they run from source.
node_modules/node/bin/node launcher/bundle.ts --if-needed || echo "setup: commands will run from source" >&2

groups=" ${*:-$(sed -n 's/^\[\(.*\)\]$/\1/p' test/packages.txt | tr '\n' ' ')} "
wanted=$(awk -v groups="$groups" '
  /^\[/ { group = substr($0, 2, length($0) - 2); next }
  /^[a-z0-9]/ && index(groups, " " group " ") { print $1 }' test/packages.txt)
missing=
for package in $wanted; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
  echo "setup: these Debian packages are missing; as root: apt-get install$missing" >&2
  exit 1
fi
echo "setup: Debian packages:$missing"
# Services of these packages (munge, slurmd, rpcbind …) must not start just because they were installed.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # the list is meant to be split
if ! { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "setup: apt-get failed, its output is in $log" >&2
  exit 1
fi
rm -f "$log"
