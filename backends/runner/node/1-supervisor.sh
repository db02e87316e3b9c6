#!/bin/sh
# hamgr's hands on a node: runs each step once, detached, for the highest epoch only, and keeps its result.
#
#   facts                                  who this machine is; creates nothing  (also: sh -s facts < runner.sh)
#   fence  EPOCH JOB                       store the epoch durably; forget all but the 8 newest other jobs
#   status EPOCH JOB STEP ATTEMPT          absent | running | done | lost
#   run    EPOCH JOB STEP ATTEMPT WAIT_S OUTPUT_MAX SIZE SHA256
#                                          script of SIZE bytes on stdin: start it or adopt it, wait, answer
#   kill   EPOCH JOB STEP ATTEMPT          SIGKILL every process of the attempt, then answer its status
#   log    JOB STEP ATTEMPT OFFSET MAX     part of the output
#   follow JOB STEP ATTEMPT OFFSET         the output as it is written, until the attempt is over
#
# Exit: 0 ok, 64 usage, 69 a tool is missing, 74 disk or upload trouble (nothing was started), 75 stale epoch,
# 76 another attempt is running, 77 same name but another script. Standard output begins with one line
# "hamgr-runner 1 key=value ..."; body=N says that N bytes of output follow it.
#
# Guarantees:
#  1. No verb of an epoch below the highest ever seen has any effect. Every verb that acts holds fence.lock
#     from its look at the fence to the end of its effect; nobody holds it while waiting or uploading.
#  2. At most one attempt runs. The descriptor of run.lock is inherited by every process of the step, so a free
#     lock means that the work is really over. Services must be started through the service manager, or with
#     the descriptor HAMGR_LOCK_FD closed; what a step leaves behind with it open keeps the node busy:
#     the attempt is done, the next run is refused with its name, and kill ends it.
#  3. JOB/STEP/ATTEMPT is launched at most once, however often and from wherever it is asked for: its record
#     is on the disk before it begins. A record without an end is lost, never started again.
#  4. A result that was reported survives everything. The place for it is written, and the directory synced,
#     before the launch; the end overwrites it in place (less than a sector, so whole or not at all, and a
#     disk that the step filled cannot refuse it), is synced, and only then marked as believable. This gives
#     what a temporary file and a rename would, for one process instead of three.
#  5. Lost is: another boot id, or a free lock, and no result. A result that could not be synced is lost too,
#     and so is a step that ended by a SIGTERM which its supervisor got too (a shutdown, a stopped sshd.service).
#  6. Detached: own session, no terminal, stdin empty, output to one file. A capper writes the first 16 MiB of
#     it, and drains the rest so that neither the limit nor a full disk stops the step. (Of the sh that starts
#     it, the step inherits SIGINT and SIGQUIT ignored, as any background job does.)
#  7. The file launches gets the line "EPOCH JOB STEP ATTEMPT" for each launch, before the script begins.
#
# Needs: Linux with /proc, sh (dash, busybox or bash), flock (util-linux or busybox), and of coreutils or busybox
# dd env head ls mkdir mv rm sleep sync tail tee uname wc; setsid (util-linux or busybox); mkfifo where sh
# is bash. Where sync takes no file (coreutils before 8.24) it says so and syncs everything, which is as good.
#
# An attempt is three files, jobs/JOB/STEP.ATTEMPT.{record,output,script-PID}. The record has two lines:
# "attempt SHA256 BOOT_ID EPOCH ." and the mark: running, ended RC (not synced yet), synced RC (output not
# complete yet), closed RC (nothing follows), failed RC (could not be synced).
#
# HAMGR_ROOT is a prefix for nodes that live in a folder, like DESTDIR. HAMGR_BOOT_ID is for tests only.

set -u
umask 077
export LC_ALL=C

state_dir=${HAMGR_ROOT:-}
state_dir=${state_dir%/}/var/lib/hamgr
output_blocks_max=32768 # of 512 bytes: 16 MiB
verbs_wait_ms_max=30000
drain_polls_max=50      # of 20 ms: how long output may be on its way after the step has ended

set_mark() { # MARK RC - overwrite the second line of $record in place
    printf '%s\n%-12s\n' "$launch_line" "$1 $2" 1<>"$record"
}

# The supervisor of one attempt; a process of its own, in the session of the step. Descriptor 7 is run.lock;
# 6 is the record, which marks the supervisor and its helpers as what kill must spare.
supervise() { # RECORD LAUNCH_LINE OUTPUT SCRIPT
    export LC_ALL=C
    record=$1 launch_line=$2
    terminated=
    trap : HUP
    trap terminated=yes TERM # a machine that shuts down asks everybody to end; children get the default back
    # A pipe without a process: a short here-document is one, and /proc lets us have its other end.
    exec 5<<'pipe'
one line
pipe
    if [ -p /proc/self/fd/5 ]; then
        exec 4>/proc/self/fd/5
        read -r drop <&5
    else
        exec 5<&-
        mkfifo "$3.pipe" && exec 3<>"$3.pipe" && exec 4>"$3.pipe" 5<"$3.pipe" && exec 3>&- && rm -f "$3.pipe"
    fi
    (
        trap '' XFSZ # at the limit tee sees an error instead of a signal, gives up the file and goes on reading
        ulimit -f "$output_blocks_max"
        exec tee "$3"
    ) <&5 >/dev/null 2>&1 4>&- 7>&- &
    capper=$!
    exec 5<&-
    cd "${HAMGR_ROOT:-/}" || exit 74
    ( # not a plain command: some shells would close 6 in the supervisor as well for as long as that runs
        umask 022
        export LC_ALL=C.UTF-8
        exec /bin/sh "$4" </dev/null >&4 2>&1 4>&- 6>&-
    )
    rc=$?
    [ "$terminated/$rc" != yes/143 ] || exit # we were to end as well: nobody judged the step, so it is lost
    exec 4>&-
    set_mark ended $rc
    if [ $? -eq 0 ] && sync "$record" "$state_dir/launches"; then mark=synced; else mark=failed; fi
    set_mark $mark $rc
    polls=0
    while [ $polls -lt $drain_polls_max ] && read -r stat <"/proc/$capper/stat"; do
        case ${stat##*) } in Z*) break ;; esac
        polls=$((polls + 1))
        sleep 0.02
    done
    [ $mark = failed ] || set_mark closed $rc
    printf '' >"$4" # it may hold secrets, and is never read again
}

if [ "${1-}" = supervise ] && [ $# -eq 5 ]; then # first in the file, so that sh parses no more than this
    shift
    supervise "$@" 2>/dev/null
    exit
fi
