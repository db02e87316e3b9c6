#!/bin/sh
# Turns this process into the first process of a host: its network, its root, then systemd.
#
# Runs as PID 1 of a fresh PID, mount, UTS and IPC namespace inside the host's network namespace, once for
# each boot. Arguments: the host's directory. Environment: NAME ADDRESS GATEWAY CGROUP LOWER BINDS DROP.
set -e
HOST=$1

if [ -z "$IN_CGROUP" ]; then
    # A reboot forgets addresses and firewall rules that somebody added, a virtual address for example.
    nft flush ruleset
    ip link set lo up
    ip addr flush dev eth0
    ip link set eth0 up
    ip addr add "$ADDRESS/24" brd + dev eth0
    ip route replace default via "$GATEWAY"
    echo 0 > "$CGROUP/cgroup.procs"
    IN_CGROUP=1 exec unshare --cgroup sh "$0" "$HOST"
fi

ROOT=$HOST/root
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$HOST/upper,workdir=$HOST/work" "$ROOT"

mount -t proc -o nosuid,nodev,noexec proc "$ROOT/proc"
# Only the network's sysctls belong to the host; the others are everybody's.
mount --bind "$ROOT/proc/sys" "$ROOT/proc/sys"
mount --bind "$ROOT/proc/sys/net" "$ROOT/proc/sys/net"
mount -o remount,bind,ro "$ROOT/proc/sys"
# 'b' written here would reboot this machine.
[ ! -e /proc/sysrq-trigger ] || mount --bind /dev/null "$ROOT/proc/sysrq-trigger"
# The kernel's boot id is this machine's; a host must show a new one after each boot of its own. A file of
# an earlier boot may still be mounted, so it is replaced and not written to.
cat /proc/sys/kernel/random/uuid > "$HOST/boot_id.new"
mv "$HOST/boot_id.new" "$HOST/boot_id"
mount --bind "$HOST/boot_id" "$ROOT/proc/sys/kernel/random/boot_id"
mount -o remount,bind,ro "$ROOT/proc/sys/kernel/random/boot_id"

mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$ROOT/sys"
mount -t cgroup2 cgroup2 "$ROOT/sys/fs/cgroup"

mount -t tmpfs -o mode=755,nosuid tmpfs "$ROOT/dev"
mkdir "$ROOT/dev/net" "$ROOT/dev/pts" "$ROOT/dev/shm"
for device in null zero full random urandom tty net/tun; do
    [ -e "/dev/$device" ] || continue
    : > "$ROOT/dev/$device"
    mount --bind "/dev/$device" "$ROOT/dev/$device"
done
: > "$ROOT/dev/console"
mount --bind /dev/null "$ROOT/dev/console"
mount -t tmpfs -o mode=1777 tmpfs "$ROOT/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$ROOT/dev/pts"
ln -s pts/ptmx "$ROOT/dev/ptmx"
ln -s /proc/self/fd "$ROOT/dev/fd"
ln -s /proc/kmsg "$ROOT/dev/kmsg"
ln -s /proc/self/fd/0 "$ROOT/dev/stdin"
ln -s /proc/self/fd/1 "$ROOT/dev/stdout"
ln -s /proc/self/fd/2 "$ROOT/dev/stderr"

mount -t tmpfs -o mode=755 tmpfs "$ROOT/run"
mount -t tmpfs -o mode=1777 tmpfs "$ROOT/tmp"

# What is shown live: a running overlay need not notice changes below it.
IFS=:
for path in $BINDS; do
    mkdir -p "$ROOT$path"
    mount --rbind "$path" "$ROOT$path"
    mount -o remount,bind,ro "$ROOT$path"
done
unset IFS

hostname "$NAME"
cd "$ROOT"
pivot_root . .
umount -l .
# DROP is words on purpose: setpriv and its option.
# shellcheck disable=SC2086
exec $DROP env -i container=lab /lib/systemd/systemd --unit=multi-user.target --show-status=0 --log-target=journal
