#!/bin/sh
# Has a replica's machine switch itself off, over SSH: for machines whose power nothing else controls.
# hamgrd calls it with `status NAME ADDRESS` or `off NAME ADDRESS`; see docs/voters.md.
# The weakest of these: it succeeds only while the machine still takes orders (hamgrd hangs, or is frozen),
# and never for one that is dead or cut off. Nobody but the machine itself could say that it is off.
# /etc/hamgr/fencing/id_ed25519 is a key that root on the other machine accepts; its host key must be known.
set -eu
verb=$1 address=$3
folder=${HAMGR_FENCING_DIR:-/etc/hamgr/fencing}

order() {
    ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o ConnectTimeout=5 -o ServerAliveInterval=2 \
        -o ServerAliveCountMax=3 -i "$folder/id_ed25519" "root@$address" "$@"
}

case $verb in
status)
    order "command -v systemctl"
    ;;
off)
    # The kernel is told at once (--force twice), without stopping or syncing anything first. The machine says
    # so before: who has not seen these words does not know that it took the order.
    said=$(order "echo takes-the-order; systemctl poweroff --force --force" || true)
    case $said in
    *takes-the-order*) ;;
    *) echo "it took no order" && exit 1 ;;
    esac
    for _ in $(seq "${HAMGR_FENCING_LOOKS:-10}"); do
        order true || { echo "it took the order, and answers no more" && exit 0; }
        sleep 1
    done
    echo "it took the order, and still answers"
    exit 1
    ;;
*)
    echo "neither status nor off: $verb" >&2
    exit 2
    ;;
esac
