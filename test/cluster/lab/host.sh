#!/bin/sh
# Makes this process, alone in new namespaces, the init of a lab host, and says `ready PID` with its pid on the machine.
# host.sh NAME LAB_DIR PROJECT_DIR
# LAB_DIR/rootfs/NAME is laid over the machine's root file system; the layer that takes all writes is in the site's
# tmpfs on LAB_DIR/layers, so a host leaves nothing on the machine. LAB_DIR/shared is what all hosts have in common.
set -eu
name=$1 lab=$2 project=$3
# At the start /proc still shows the machine's pids.
read -r pid rest </proc/self/stat

rootfs=$lab/rootfs/$name
shared=$lab/shared
layer=$lab/layers/$name
mkdir "$layer" "$layer/upper" "$layer/work" "$layer/root"
root=$layer/root
mount -t overlay -o "lowerdir=/,upperdir=$layer/upper,workdir=$layer/work" overlay "$root"
cp -a "$rootfs/." "$root/"

mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --bind /dev "$root/dev"
mkdir -p "$root/dev/shm" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir -p "$root/export" "$root/srv/project" "$root/srv/leet" "$root/var/spool/slurmd" "$root/var/lib/slurm/state"
mount --bind "$shared" "$root/export"
mount --bind "$shared/home" "$root/home"
mount --bind "$shared/project" "$root/srv/project"
mount --bind "$project" "$root/srv/leet"
mount -o remount,bind,ro "$root/srv/leet"

mkdir "$root/run/lock" "$root/run/slurm" "$root/run/munge" "$root/run/user"
chown munge: "$root/run/munge"
install -d -o _rpc -m 755 "$root/run/rpcbind"
while IFS=: read -r _ _ uid gid _ home _; do
  case $home in
  /home/*) install -d -m 700 -o "$uid" -g "$gid" "$root/run/user/$uid" ;;
  esac
done <"$rootfs/etc/passwd"
# The way a site lets ordinary users attach guests to its bridge.
chmod 4755 "$root/usr/lib/qemu/qemu-bridge-helper" 2>/dev/null || true

cd "$root"
pivot_root . .
umount -l .
hostname "$name"
ip link set lo up
echo "ready $pid"
# Init: dash's wait also reaps the orphans that the kernel gives to it.
exec </dev/null >/dev/null 2>&1
sleep infinity &
wait
