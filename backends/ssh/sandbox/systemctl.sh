#!/bin/sh
# A service manager for one practice node: what hamgr's `service` steps need of systemctl(1), unprivileged.
#
# 1. Units are $HAMGR_ROOT/etc/systemd/system/NAME.service; of them ExecStart=, ExecReload=, Environment=
#    and WorkingDirectory= are read. Commands run through `sh -c`, by default in $HAMGR_ROOT.
# 2. A service is a session of its own. $HAMGR_ROOT/run/NAME.pid holds its leader's process id and start
#    time (proc(5), field 22), so that a number that the kernel gave to another process is never believed.
# 3. A service holds none of its caller's descriptors: not $HAMGR_LOCK_FD, nor the output of a step.
# 4. Stopping ends the whole session: SIGTERM, at most 5 s later SIGKILL.
# 5. Calls for one unit are serialised.
# Exit: 0 done; 1 wrong use; 3 not active; 4, 5 no such unit; 75 somebody else holds the unit for too long.
set -u
: "${HAMGR_ROOT:?HAMGR_ROOT is not set}"
units=$HAMGR_ROOT/etc/systemd/system
wants=$units/multi-user.target.wants
run=$HAMGR_ROOT/run
logs=$HAMGR_ROOT/var/log
quiet=no
now=no

say() { [ "$quiet" = yes ] || printf '%s\n' "$1"; }
die() { printf '%s\n' "$2" >&2; exit "$1"; }

# start_time PID -> $started; fails when there is no such process, or only its zombie
start_time() {
    started=
    { read -r line < "/proc/$1/stat"; } 2>/dev/null || return 1
    # shellcheck disable=SC2086  # split into fields on purpose
    set -- ${line##*) }
    [ "$1" != Z ] && [ "$1" != X ] || return 1
    shift 19
    started=$1
}

# active -> $pid
active() {
    pid=
    { read -r pid began < "$run/$name.pid"; } 2>/dev/null || return 1
    start_time "$pid" && [ "$started" = "$began" ]
}

setting() {  # setting KEY -> the values of all its lines, one a line
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in "$1="*) printf '%s\n' "${line#"$1="}" ;; esac
    done < "$units/$name.service"
}

environment() {  # export the unit's Environment= lines; "A=b c" in quotes is one, else words are
    setting Environment > "$run/$name.env"
    while IFS= read -r line; do
        case $line in
        \"*\") line=${line#\"}; export "${line%\"}" ;;
        # shellcheck disable=SC2086,SC2163  # words are assignments
        *) set -f; for word in $line; do export "$word"; done; set +f ;;
        esac
    done < "$run/$name.env"
}

launch() {  # launch COMMAND: become it, in a new session, holding nothing of the caller
    workdir=$(setting WorkingDirectory)
    (
        case ${HAMGR_LOCK_FD:-} in [3-9]) eval "exec $HAMGR_LOCK_FD>&-" ;; esac
        exec 8>&-
        environment
        unset HAMGR_LOCK_FD
        cd "${workdir:-$HAMGR_ROOT}" || exit 200
        exec setsid sh -c "$1" < /dev/null >> "$logs/$name.log" 2>&1
    ) &
}

start() {
    known
    ! active || return 0
    command=$(setting ExecStart)
    [ -n "$command" ] || die 1 "$name.service has no ExecStart="
    launch "$command"
    start_time $! || started=0
    printf '%s %s\n' "$!" "$started" > "$run/$name.pid.new" && mv "$run/$name.pid.new" "$run/$name.pid"
}

stop() {
    if active; then
        kill -s TERM -- "-$pid" 2>/dev/null
        tries=0
        while active && [ "$tries" -lt 100 ]; do
            sleep 0.05
            tries=$((tries + 1))
        done
        kill -s KILL -- "-$pid" 2>/dev/null
    fi
    rm -f "$run/$name.pid"
}

reload() {
    command=$(setting ExecReload)
    if [ -z "$command" ] || ! active; then stop; start; return; fi
    ( export MAINPID="$pid"; launch "$command"; wait )
}

known() { [ -e "$units/$name.service" ] || die 5 "Unit $name.service not found."; }
enable() { known; mkdir -p "$wants" && ln -sf "../$name.service" "$wants/$name.service"; }
disable() { rm -f "$wants/$name.service"; }

one() {  # one VERB on $name
    case $1 in
    is-active)
        if active; then say active; return 0; fi
        say inactive; [ -e "$units/$name.service" ] && return 3; return 4 ;;
    is-enabled)
        if [ -e "$wants/$name.service" ]; then say enabled; return 0; fi
        say disabled; return 1 ;;
    status)
        if active; then say "$name.service: active (running), main process $pid"; return 0; fi
        say "$name.service: inactive (dead)"; [ -e "$units/$name.service" ] && return 3; return 4 ;;
    esac
    exec 8> "$run/$name.lock" && flock -w 30 8 || die 75 "$name.service is busy"
    case $1 in
    start) start ;;
    stop) stop ;;
    restart) known; stop; start ;;
    try-restart) if active; then stop; start; fi ;;
    reload | reload-or-restart) known; reload ;;
    enable) enable; [ "$now" = no ] || start ;;
    disable) disable; [ "$now" = no ] || stop ;;
    *) die 1 "unknown verb $1" ;;
    esac
    code=$?
    exec 8>&-
    return "$code"
}

verb=
names=
for word; do
    case $word in
    -q | --quiet) quiet=yes ;;
    --now) now=yes ;;
    -*) ;;  # --no-block, --no-pager, --system: nothing to do here
    *[!A-Za-z0-9_.@-]*) die 1 "not a unit's name: $word" ;;
    *) if [ -z "$verb" ]; then verb=$word; else names="$names ${word%.service}"; fi ;;
    esac
done
mkdir -p "$run" "$logs" "$units"
case $verb in
'') die 1 "usage: systemctl [--quiet] [--now] VERB [UNIT...]" ;;
daemon-reload) exit 0 ;;
default)  # what a boot does: start what is enabled
    verb=start
    for link in "$wants"/*.service; do
        [ -e "$link" ] || continue
        link=${link##*/}
        names="$names ${link%.service}"
    done ;;
*) [ -n "$names" ] || die 1 "which unit?" ;;
esac
result=0
for name in $names; do
    one "$verb" || result=$?
done
exit "$result"
