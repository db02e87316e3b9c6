#!/bin/sh
# Switches a replica's virtual machine off through libvirt on its host (with virsh).
# hamgrd calls it with `status NAME ADDRESS` or `off NAME ADDRESS`; see docs/voters.md.
# /etc/hamgr/fencing/NAME holds URI=qemu+ssh://USER@HOST/system and DOMAIN=NAME_OF_THE_MACHINE.
set -eu
verb=$1 name=$2
folder=${HAMGR_FENCING_DIR:-/etc/hamgr/fencing}
. "$folder/$name"

state() { LC_ALL=C virsh --connect "$URI" domstate "$DOMAIN"; }

case $verb in
status)
    said=$(state)
    echo "$DOMAIN: $said"
    case $said in running*) exit 0 ;; esac
    exit 1
    ;;
off)
    virsh --connect "$URI" destroy "$DOMAIN" || true # it may be off already: its state is what counts
    for _ in $(seq "${HAMGR_FENCING_LOOKS:-20}"); do
        said=$(state || true)
        case $said in "shut off"*) echo "$DOMAIN: $said" && exit 0 ;; esac
        sleep 1
    done
    echo "not verified to be off: $DOMAIN: $said"
    exit 1
    ;;
*)
    echo "neither status nor off: $verb" >&2
    exit 2
    ;;
esac
