#!/bin/sh
# One line per run: job, step, attempt. HAMGR_ROOT is empty on a host, and a folder on a practice node.
set -eu
log=${HAMGR_ROOT:-}/var/log/hamgr-effects.log
mkdir -p "${log%/*}"
printf '%s %s %s\n' "$HAMGR_JOB" "$HAMGR_STEP" "$HAMGR_ATTEMPT" >>"$log"
