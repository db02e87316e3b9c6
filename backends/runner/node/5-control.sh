# --- fence, status and kill -----------------------------------------------------------------------------------

verb_fence() { # EPOCH JOB
    [ $# -eq 2 ] || misused 'fence EPOCH JOB'
    take_epoch "$1"
    take_job "$2"
    refuse_if_stale
    make_state
    lock_verbs
    obey_epoch
    prune
    say "fence=$fence"
}

# Keep the results of $job, of whatever holds the run lock, and of the 8 other jobs that launched last (only
# one can run at a time, so that is the order in which they ended as well).
prune() {
    set -- "$state_dir"/jobs/*
    [ $# -gt 8 ] || return 0
    read_holder
    kept=0
    for old in $(ls -t "$state_dir/jobs"); do
        [ "$old" != "$job" ] || continue
        kept=$((kept + 1))
        [ $kept -gt 8 ] && [ "$old" != "${holder%%/*}" ] || continue
        rm -rf "$state_dir/jobs/$old"
    done
    [ "$(wc -c <"$state_dir/launches")" -le 8388608 ] || mv -f "$state_dir/launches" "$state_dir/launches.old"
}

verb_status() { # EPOCH JOB STEP ATTEMPT
    [ $# -eq 4 ] || misused 'status EPOCH JOB STEP ATTEMPT'
    take_epoch "$1"
    take_attempt "$2" "$3" "$4"
    refuse_if_stale
    make_state
    lock_verbs
    obey_epoch
    look
    unlock_verbs
    adopted=1
    [ $state != absent ] || adopted=0
    answer 0
}

verb_kill() { # EPOCH JOB STEP ATTEMPT
    [ $# -eq 4 ] || misused 'kill EPOCH JOB STEP ATTEMPT'
    take_epoch "$1"
    take_attempt "$2" "$3" "$4"
    refuse_if_stale
    make_state
    lock_verbs
    obey_epoch
    look
    adopted=1
    [ $state != absent ] || adopted=0
    read_holder
    if [ "$holder" = "$key" ] && run_lock_held; then
        kill_processes
        unlock_verbs
        await 10000
    fi
    unlock_verbs
    answer 0
}

# Kills whoever has the run lock open as 7 (we hold the verbs, so nobody else is about to), and whoever is in
# their sessions, again and again until there are none; spares the supervisor, which has the result to store.
kill_processes() {
    sessions=' ' passes=0
    while [ $passes -lt 100 ]; do
        victims=
        for process in /proc/[0-9]*; do
            if [ "$process/fd/7" -ef "$state_dir/run.lock" ] && session_of "$process"; then
                sessions="$sessions$session "
                [ "$process/fd/6" -ef "$record" ] || victims="$victims ${process#/proc/}"
            fi
        done
        for process in /proc/[0-9]*; do
            session_of "$process" || continue
            case $sessions in *" $session "*) ;; *) continue ;; esac
            [ "$process/fd/6" -ef "$record" ] || victims="$victims ${process#/proc/}"
        done
        [ -n "$victims" ] || return 0
        # shellcheck disable=SC2086 # a list of process ids
        kill -9 $victims 2>/dev/null
        sleep 0.02
        passes=$((passes + 1))
    done
}

session_of() { # /proc/PID - sets session; fails where the process is gone or a zombie
    { read -r stat <"$1/stat"; } 2>/dev/null || return 1
    # shellcheck disable=SC2086 # fields of proc(5)
    set -- ${stat##*) }
    session=$4
    [ "$1" != Z ]
}
