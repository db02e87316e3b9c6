# --- what is known of an attempt -----------------------------------------------------------------------------

read_boot() {
    boot=${HAMGR_BOOT_ID:-}
    [ -n "$boot" ] || read -r boot </proc/sys/kernel/random/boot_id
}

# Sets mark and rc, and of the launch: sha256, boot_then. Needs no lock: a record is complete before its lock
# is given up, and its end is one write.
read_record() {
    mark=damaged rc= launch_line= sha256_then=
    {
        IFS= read -r launch_line
        read -r mark_read rc
    } <"$record"
    # shellcheck disable=SC2086 # split into words on purpose; the pattern below refuses anything else
    set -- $launch_line
    [ "$# ${1-} ${5-}" = '5 attempt .' ] || return 0
    sha256_then=$2 boot_then=$3
    case $mark_read in running | ended | synced | closed | failed) mark=$mark_read ;; esac
}

read_holder() {
    holder=
    [ -s "$state_dir/run.lock" ] && read -r holder <"$state_dir/run.lock"
}

run_lock_held() {
    [ -e "$state_dir/run.lock" ] || return 1
    command exec 5<"$state_dir/run.lock" || return 0 # who cannot look must not call it free
    flock -s -n 5
    free=$?
    exec 5<&-
    [ $free -ne 0 ]
}

# Sets state, rc and reason. To be called with the verbs locked: it tries the run lock, which must not disturb
# somebody who wants to start.
look() {
    state=lost reason=
    [ -e "$record" ] || {
        state=absent rc=
        return
    }
    read_record
    read_boot
    case $mark in
    closed) state=done ;;
    damaged) reason=record-damaged ;;
    failed) reason=result-not-stored ;;
    *)
        if [ "$boot_then" != "$boot" ]; then
            # What came back from the disk was on the disk.
            if [ $mark = running ]; then reason=node-rebooted; else state=done; fi
        elif read_holder && [ "$holder" = "$key" ] && run_lock_held; then
            state=running
        else
            read_record # it may have ended while we looked
            case $mark in closed | synced) state=done ;; *) reason=supervisor-died ;; esac
        fi
        ;;
    esac
    [ $state = done ] || rc=
}

# Waits until the attempt is over, MS at most, and sets state, rc and reason. It blocks on the run lock; what a
# finished step left behind may keep that, hence a look at the record each second.
await() { # MS
    ms_left=$1
    while [ "$ms_left" -gt 0 ]; do
        slice_ms=$ms_left
        [ "$slice_ms" -le 1000 ] || slice_ms=1000
        wait_slice "$slice_ms"
        case $mark in closed | failed) break ;; esac
        [ $free -ne 0 ] || break
        ms_left=$((ms_left - slice_ms))
    done
    conclude
}

# Blocks until the attempt no longer has the run lock (sets free to 0), MS at most; then reads the record.
wait_slice() { # MS
    free=1
    if command exec 5<"$state_dir/run.lock"; then
        lock_within 5 -s "$1"
        free=$?
        exec 5<&-
    else
        sleep 1
    fi
    read_holder
    [ "$holder" = "$key" ] || free=0
    read_record
}

# Sets state, rc and reason after the record has been read.
conclude() {
    reason=
    if [ $mark = closed ]; then
        state=done
        return
    fi
    if lock_verbs_or_not; then
        look
    else
        state=running rc=
        sleep 1 # a follower would ask again at once
    fi
    unlock_verbs
}

measure() { # sets size to the bytes of output so far
    size=0
    [ ! -s "$output" ] || size=$(($(wc -c <"$output")))
}

answer() { # OUTPUT_MAX
    measure
    body=$size
    [ "$body" -le "$1" ] || body=$1
    say "state=$state${rc:+ rc=$rc} adopted=$adopted size=$size fence=$fence${reason:+ reason=$reason} body=$body"
    [ "$body" -gt 0 ] || exit 0
    [ $state = running ] || exec tail -c "$body" "$output"
    tail -c +$((size - body + 1)) "$output" | head -c "$body" # it may have grown since
}
