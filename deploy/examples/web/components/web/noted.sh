#!/bin/sh
# Exit 0 when note.sh has already done its work for this job: asked only when nobody saw how it ended.
set -eu
log=${HAMGR_ROOT:-}/var/log/hamgr-effects.log
[ -f "$log" ] || exit 1
while read -r job step attempt; do
  [ "$job $step" != "$HAMGR_JOB $HAMGR_STEP" ] || exit 0
done <"$log"
exit 1
