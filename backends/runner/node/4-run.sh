# --- run ------------------------------------------------------------------------------------------------------

verb_run() { # EPOCH JOB STEP ATTEMPT WAIT_S OUTPUT_MAX SIZE SHA256
    [ $# -eq 8 ] || misused 'run EPOCH JOB STEP ATTEMPT WAIT_S OUTPUT_MAX SIZE SHA256'
    take_epoch "$1"
    take_attempt "$2" "$3" "$4"
    take_wait "$5"
    number "$6" 8 OUTPUT_MAX
    number "$7" 7 SIZE
    case $8 in *[!0-9a-f]*) misused 'SHA256 must be lower case hexadecimal' ;; esac
    [ ${#8} -eq 64 ] || misused 'SHA256 must have 64 digits'
    [ -f "$0" ] || misused 'run needs the runner as a file'
    # The other tools fail before anything is done, and are named then.
    { command -v flock && command -v setsid && command -v env && command -v tee; } >/dev/null ||
        refuse_if_tools_are_missing
    output_max=$6 script_bytes=$7 sha256=$8
    refuse_if_stale
    make_state
    receive
    lock_verbs
    obey_epoch_or_discard
    if [ -e "$record" ]; then
        adopt
    elif [ "$script" = /dev/null ]; then # there was a record when the upload began
        broken record-vanished "the record of $key was removed just now; ask again"
    else
        launch
    fi
    unlock_verbs
    if [ $state = running ]; then await "$wait_ms"; fi
    answer "$output_max"
}

take_wait() { # SECONDS, with up to three decimals
    case $1 in '' | .* | *[!0-9.]* | *.*.*) misused "WAIT_S must be seconds, not '$1'" ;; esac
    whole=${1%%.*} decimals=
    case $1 in *.*) decimals=${1#*.} ;; esac
    number "$whole" 6 WAIT_S
    decimals=${decimals}000
    decimals=${decimals%"${decimals#???}"}
    while :; do case $decimals in 0?*) decimals=${decimals#0} ;; *) break ;; esac; done # 010 would be octal
    wait_ms=$((whole * 1000 + decimals))
}

# Before the verbs are locked, for a slow upload must not hold up others. Under a name of its own, for there
# may be several callers; no file at all where the attempt exists.
receive() {
    new_job=
    [ -d "$job_dir" ] || { mkdir -p "$job_dir" && new_job=1; } || broken state-not-writable "cannot make $job_dir"
    script=$job_dir/$step.$attempt.script-$$
    [ ! -e "$record" ] || script=/dev/null
    if [ "$script_bytes" -eq 0 ]; then
        printf '' >"$script" && return
        blocks=none
    else
        blocks=$(dd bs="$script_bytes" count=1 iflag=fullblock of="$script" 2>&1) || blocks=none
    fi
    case $blocks in
    1+0*) return ;;
    none) discard_script && broken script-not-stored "could not write the script in $job_dir" ;;
    esac
    discard_script
    broken upload-cut-short "the script ended before its $script_bytes bytes; nothing was started"
}

discard_script() {
    [ "$script" = /dev/null ] || rm -f "$script"
}

obey_epoch_or_discard() {
    read_fence
    [ "$epoch" -ge "$fence" ] || discard_script
    obey_epoch
}

adopt() {
    adopted=1
    discard_script
    look
    [ "$sha256_then" = "$sha256" ] || [ $mark = damaged ] ||
        refuse 77 "state=$state" "$key was launched with another script"
}

not_launched() { # REASON SENTENCE
    rm -f "$record" "$script"
    broken "$1" "$2; nothing was started"
}

launch() {
    adopted=0
    command exec 7<>"$state_dir/run.lock" || not_launched state-not-writable 'cannot open run.lock'
    # Somebody who waited for the last attempt may have the lock for a moment, hence not -n.
    if ! lock_within 7 -x 200; then
        discard_script
        read_holder
        refuse 76 "holder=$holder" "$holder, or a process that it left behind, is still running"
    fi
    read_boot
    launch_line="attempt $sha256 $boot $epoch ."
    printf '%s\n' "$key" >"$state_dir/run.lock" && printf '%s\n%-12s\n' "$launch_line" running >"$record" &&
        sync "$record" "$job_dir" ${new_job:+"$state_dir/jobs"} &&
        printf '%s %s %s %s\n' "$epoch" "$job" "$step" "$attempt" >>"$state_dir/launches" ||
        not_launched record-not-stored "could not store the record of $key"
    setsid env -i HAMGR_ROOT="${HAMGR_ROOT:-}" HAMGR_STATE="$state_dir" HAMGR_EPOCH="$epoch" HAMGR_JOB="$job" \
        HAMGR_STEP="$step" HAMGR_ATTEMPT="$attempt" HAMGR_LOCK_FD=7 LC_ALL=C HOME="${HOME:-/}" \
        PATH="${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}" \
        sh "$0" supervise "$record" "$launch_line" "$output" "$script" 6<"$record" 8>&- </dev/null >/dev/null 2>&1 &
    exec 7>&-
    state=running
    mark=running rc= reason=
}

case ${HAMGR_ROOT:-/} in /*) ;; *) misused 'HAMGR_ROOT must be an absolute path' ;; esac

# A shell that serves many calls reads this file once with `define`, up to here, and calls verb_run in subshells.
[ "${1-}" != define ] || return 0

if [ "${1-}" = run ]; then # the verb that is in a hurry: sh need not parse the others
    shift
    verb_run "$@"
    exit
fi
