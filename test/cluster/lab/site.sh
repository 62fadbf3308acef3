#!/bin/sh
# Makes this process, alone in new namespaces, the lab's site: the switch between its hosts, and the init whose
# end ends them all. site.sh LAYERS_DIR; says `ready PID` with its pid on the machine.
set -eu
read -r pid rest </proc/self/stat
mount -t tmpfs -o mode=755 tmpfs "$1"
ip -batch - <<'IP'
link set lo up
link add br0 type bridge forward_delay 0 stp_state 0
link set br0 up
IP
echo "ready $pid"
exec </dev/null >/dev/null 2>&1
sleep infinity &
wait
