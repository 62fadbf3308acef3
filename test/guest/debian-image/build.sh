#!/bin/sh
# Makes a Debian disk image as clouds have them: boots by itself (GRUB, BIOS), Debian's own kernel, systemd and cloud-init,
# an SSH server and an NFS client. Of LEET it knows nothing; the libraries of MPI programs are in it as a user would
# install them. Needs root.
# Usage: sh build.sh IMAGE.qcow2 PACKAGE...
set -eu
image=$1
shift
packages=$(echo "$*" | tr ' ' ',')
work=$(mktemp -d "$image.XXXXXX")
trap 'rm -rf "$work"' EXIT

# What the installation reads has to be there before the packages are: only what a virtual machine needs goes into the
# initial RAM disk, which BIOS and GRUB read slowly under emulation.
settings='mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
printf "MODULES=list\nCOMPRESS=gzip\n" >"$1/etc/initramfs-tools/conf.d/small"
printf "virtio_pci\nvirtio_blk\next4\n" >"$1/usr/share/initramfs-tools/modules.d/small"'
# Without wait-online, NFS mounts are tried before there is a network.
services='chroot "$1" systemctl enable systemd-networkd systemd-networkd-wait-online
rm -f "$1/etc/machine-id" && touch "$1/etc/machine-id" && rm -f "$1"/etc/ssh/ssh_host_*
echo "locale: C.UTF-8" >"$1/etc/cloud/cloud.cfg.d/50_locale.cfg"
echo "/dev/vda1 / ext4 defaults 0 1" >"$1/etc/fstab"
mkdir -p "$1/boot/grub" && cat >"$1/boot/grub/grub.cfg" <<END
linux /vmlinuz root=/dev/vda1 ro quiet console=ttyS0 net.ifnames=0 ipv6.disable=1 mitigations=off
initrd /initrd.img
boot
END'
mmdebstrap --quiet --variant=minbase --format=directory --include="$packages" \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --essential-hook="$settings" --customize-hook="$services" bookworm "$work/root"

# One partition from 1 MiB on; GRUB's first sector in the MBR and the rest of it in the gap, where grub-install would put it.
size=$(($(du -sm "$work/root" | cut -f1) * 5 / 4 + 256))
truncate -s "$((size + 1))M" "$work/disk"
echo '2048,,L,*' | sfdisk -q --no-reread --no-tell-kernel "$work/disk"
mke2fs -q -t ext4 -d "$work/root" -E offset=1048576 "$work/disk" "${size}M"
grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -o "$work/core.img" biosdisk part_msdos ext2 linux configfile normal
dd status=none conv=notrunc if=/usr/lib/grub/i386-pc/boot.img of="$work/disk" bs=440 count=1
dd status=none conv=notrunc if="$work/core.img" of="$work/disk" bs=512 seek=1
qemu-img convert -f raw -O qcow2 "$work/disk" "$work/image"
mv "$work/image" "$image"
