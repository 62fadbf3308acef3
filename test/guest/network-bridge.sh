#!/bin/sh
# Inside namespaces of its own: a bridge br0 with the node's address, and what ordinary users need to have guests on it.
# network-bridge.sh FOLDER UID COMMAND… runs the command as that user.
set -e
folder=$1 uid=$2
shift 2
mount -t proc proc /proc
mount -t sysfs sysfs /sys
ip link set lo up
ip link add br0 mtu 1400 type bridge
ip addr add 10.77.0.11/16 dev br0
ip link set br0 up

# qemu-bridge-helper looks for its rules in /etc/qemu and must be setuid; here without a trace on the host.
mkdir "$folder/private"
mount -t tmpfs -o suid,mode=755 tmpfs "$folder/private"
cp -a /etc "$folder/private/etc"
mkdir -p "$folder/private/etc/qemu"
echo 'allow br0' > "$folder/private/etc/qemu/bridge.conf"
chmod 755 "$folder/private/etc/qemu"
chmod 644 "$folder/private/etc/qemu/bridge.conf"
mount --bind "$folder/private/etc" /etc
cp /usr/lib/qemu/qemu-bridge-helper "$folder/private/helper"
chmod 4755 "$folder/private/helper"
mount --bind "$folder/private/helper" /usr/lib/qemu/qemu-bridge-helper

chown "$uid" "$folder"
exec setpriv --reuid "$uid" --regid "$uid" --clear-groups "$@"
