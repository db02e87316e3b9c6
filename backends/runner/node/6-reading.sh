# --- log, follow and facts: they change nothing, so anybody may ask -------------------------------------------

# For the verbs without an epoch: they change nothing, so any caller may look.
look_only() {
    state=absent rc= reason= fence=0
    [ -e "$record" ] || return 0
    lock_verbs
    look
    unlock_verbs
}

send() { # OFFSET BYTES
    tail -c +$(($1 + 1)) "$output" | head -c "$2"
}

verb_log() { # JOB STEP ATTEMPT OFFSET MAX
    [ $# -eq 5 ] || misused 'log JOB STEP ATTEMPT OFFSET MAX'
    take_attempt "$1" "$2" "$3"
    number "$4" 12 OFFSET
    number "$5" 8 MAX
    look_only
    measure # after the look: of an attempt that is over, this is all
    body=$((size - $4))
    [ "$body" -ge 0 ] || body=0
    [ "$body" -le "$5" ] || body=$5
    complete=0
    case $state in done | lost) [ $(($4 + body)) -lt "$size" ] || complete=1 ;; esac
    say "state=$state offset=$4 size=$size complete=$complete body=$body"
    [ "$body" -eq 0 ] || send "$4" "$body"
}

verb_follow() { # JOB STEP ATTEMPT OFFSET
    [ $# -eq 4 ] || misused 'follow JOB STEP ATTEMPT OFFSET'
    take_attempt "$1" "$2" "$3"
    number "$4" 12 OFFSET
    look_only
    say "state=$state offset=$4"
    sent=$4 pause_ms=50
    while :; do
        last=$state # the size is measured after the look, so that of an attempt that is over nothing is left
        measure
        if [ "$size" -gt "$sent" ]; then
            send "$sent" $((size - sent)) || exit 0
            sent=$size pause_ms=50
        fi
        [ "$last" = running ] || exit 0
        wait_slice $pause_ms
        case $mark in closed | failed) free=0 ;; esac
        [ $free -ne 0 ] || conclude
        [ $pause_ms -ge 400 ] || pause_ms=$((pause_ms * 2))
    done
}

verb_facts() {
    [ $# -eq 0 ] || misused 'facts takes no arguments'
    root=${HAMGR_ROOT:-} machine_id= hostname= os= kernel= memory_kb=0 cpus=0 systemd=false
    # shellcheck disable=SC2046 # two words
    set -- $(uname -nm)
    hostname=$1
    if [ -n "$root" ]; then
        hostname=
        [ ! -r "$root/etc/hostname" ] || read -r hostname <"$root/etc/hostname"
    fi
    [ ! -r "$root/etc/machine-id" ] || read -r machine_id <"$root/etc/machine-id"
    for release in "$root/etc/os-release" "$root/usr/lib/os-release" /etc/os-release /usr/lib/os-release; do
        [ -r "$release" ] || continue
        while IFS='=' read -r field value; do
            [ "$field" != PRETTY_NAME ] || os=$value
        done <"$release"
        break
    done
    os=${os#[\"\']} os=${os%[\"\']}
    read -r kernel </proc/sys/kernel/osrelease
    while read -r field value _; do
        case $field in cpu[0-9]*) cpus=$((cpus + 1)) ;; cpu) ;; *) break ;; esac
    done </proc/stat
    read -r field memory_kb _ </proc/meminfo
    read_boot
    read_fence
    [ ! -d "$root/run/systemd/system" ] || systemd=true
    check_tools
    say state=facts
    printf '%s\n' "machine_id=$machine_id" "hostname=$hostname" "os=$os" "kernel=$kernel" "arch=$2" "cpus=$cpus" \
        "memory_mb=$((memory_kb / 1024))" "boot_id=$boot" "systemd=$systemd" "epoch=$fence" "missing=$missing"
}

verb=${1-}
[ $# -eq 0 ] || shift
case $verb in
facts) ;;
fence | status | kill | log | follow) refuse_if_tools_are_missing ;;
*) misused "the verbs are facts, fence, status, run, kill, log and follow, not '$verb'" ;;
esac
"verb_$verb" "$@"
exit
