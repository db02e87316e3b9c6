# --- answers, words, locks and the fence: what every verb stands on ------------------------------------------

say() { # KEY=VALUE... - the header
    printf 'hamgr-runner 1 %s\n' "$*"
}

refuse() { # EXIT HEADER SENTENCE
    say "$2"
    printf 'hamgr-runner: %s\n' "$3" >&2
    exit "$1"
}

misused() {
    refuse 64 reason=usage "$1"
}

broken() { # REASON SENTENCE
    refuse_if_tools_are_missing
    refuse 74 "reason=$1" "$2"
}

check_tools() { # sets missing
    missing=
    for tool in flock dd env head ls mkdir mv rm setsid sleep sync tail tee wc; do
        command -v "$tool" >/dev/null || missing=$missing,$tool
    done
    missing=${missing#,}
}

refuse_if_tools_are_missing() {
    check_tools
    [ -z "$missing" ] || refuse 69 "reason=missing-$missing" "this machine has no $missing"
}

# --- words -----------------------------------------------------------------------------------------------

number() { # WORD DIGITS_MAX NAME
    case $1 in '' | *[!0-9]* | 0?*) misused "$3 must be a number, not '$1'" ;; esac
    [ ${#1} -le "$2" ] || misused "$3 is too large"
}

name() { # WORD NAME
    case $1 in '' | [!a-z0-9]* | *[!a-z0-9_.-]*) misused "$2 must be [a-z0-9][a-z0-9_.-]*, not '$1'" ;; esac
    [ ${#1} -le 64 ] || misused "$2 is longer than 64 characters"
}

take_epoch() {
    number "$1" 18 EPOCH
    epoch=$1
}

take_job() {
    name "$1" JOB
    job=$1
    job_dir=$state_dir/jobs/$job
}

take_attempt() { # JOB STEP ATTEMPT
    take_job "$1"
    name "$2" STEP
    number "$3" 9 ATTEMPT
    step=$2 attempt=$3
    key=$job/$step/$attempt
    record=$job_dir/$step.$attempt.record
    output=$job_dir/$step.$attempt.output
}

# Returns 0 with the lock on DESCRIPTOR, or 1 after MS. Busybox's flock cannot wait with a limit, so it is asked
# again and again; its timeout is no help, for it leaves a process behind that keeps the descriptor open.
lock_within() { # DESCRIPTOR -s|-x MS
    flock "$2" -w "$(($3 / 1000)).$(($3 % 1000 / 100))$(($3 % 100 / 10))$(($3 % 10))" "$1" 2>/dev/null && return 0
    flock -s -w 1 5 5</dev/null 2>/dev/null && return 1
    tries_left=$(($3 / 50))
    until flock "$2" -n "$1"; do
        [ $tries_left -gt 0 ] || return 1
        tries_left=$((tries_left - 1))
        sleep 0.05
    done
}

lock_verbs() {
    command exec 8>>"$state_dir/fence.lock" || broken state-not-writable "cannot write in $state_dir"
    lock_within 8 -x "$verbs_wait_ms_max" || broken lock-timeout 'another verb has held fence.lock for too long'
}

lock_verbs_or_not() { # for after a launch, when "nothing was started" would be a lie
    command exec 8>>"$state_dir/fence.lock" && lock_within 8 -x "$verbs_wait_ms_max"
}

unlock_verbs() {
    exec 8>&-
}

read_fence() {
    fence=0
    [ -e "$state_dir/fence" ] || return 0
    fence=
    read -r fence <"$state_dir/fence"
    case $fence in '' | *[!0-9]*) broken fence-damaged "$state_dir/fence is not a number" ;; esac
}

refuse_if_stale() {
    read_fence
    [ "$epoch" -ge "$fence" ] || refuse 75 "fence=$fence" "epoch $epoch is older than $fence"
}

make_state() {
    [ -d "$state_dir/jobs" ] && return
    (umask 022 && mkdir -p "${state_dir%/*}") && mkdir -p "$state_dir/jobs" &&
        sync "$state_dir" "${state_dir%/*}" || broken state-not-writable "cannot make $state_dir"
}

# To be called with the verbs locked. Afterwards the epoch is the fence, on the disk.
obey_epoch() {
    refuse_if_stale
    [ "$epoch" -gt "$fence" ] || return 0
    printf '%s\n' "$epoch" >"$state_dir/fence.new" && sync "$state_dir/fence.new" &&
        mv -f "$state_dir/fence.new" "$state_dir/fence" && sync "$state_dir" ||
        broken fence-not-stored "could not store the fence in $state_dir"
    fence=$epoch
}
