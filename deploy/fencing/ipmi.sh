#!/bin/sh
# Switches a replica's machine off through its baseboard controller (IPMI 2.0, with ipmitool).
# hamgrd calls it with `status NAME ADDRESS` or `off NAME ADDRESS`; see docs/voters.md.
# /etc/hamgr/fencing/NAME holds BMC=ADDRESS and BMC_USER=USER; NAME.password beside it the password alone.
# Both belong to root, with mode 0600.
set -eu
verb=$1 name=$2
folder=${HAMGR_FENCING_DIR:-/etc/hamgr/fencing}
. "$folder/$name"

ipmi() { ipmitool -I lanplus -H "$BMC" -U "$BMC_USER" -f "$folder/$name.password" "$@"; }

case $verb in
status)
    said=$(ipmi chassis power status)
    echo "$said"
    case $said in *"is on"*) exit 0 ;; esac
    exit 1
    ;;
off)
    ipmi chassis power off || true # it may be off already: what counts is what it says afterwards
    for _ in $(seq "${HAMGR_FENCING_LOOKS:-20}"); do
        said=$(ipmi chassis power status || true)
        case $said in *"is off"*) echo "$said" && exit 0 ;; esac
        sleep 1
    done
    echo "not verified to be off: $said"
    exit 1
    ;;
*)
    echo "neither status nor off: $verb" >&2
    exit 2
    ;;
esac
