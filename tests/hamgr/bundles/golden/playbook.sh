#!/bin/sh
# hamgr: c: commission: s
set -u
umask 022
root=${HAMGR_ROOT:-}
state=${HAMGR_STATE:-$root/var/lib/hamgr}
fail() { printf 'hamgr: %s\n' "$*" >&2; exit 1; }
done_() { printf 'hamgr: %s\n' "$1"; exit 0; }
name=c-commission-s node=n1
playbook=play/site.yaml mode='' shown_max=57344
quiet=
if [ -n "$root" ]; then
  printf 'hamgr: practice node: playbook %s is not run\n' "$playbook"
  done_ unchanged
fi
command -v ansible-playbook >/dev/null 2>&1 ||
  fail 'there is no ansible-playbook on this node; install ansible-core by a step before this one'
umask 077
box=$state/playbooks/$name
# One attempt at a time runs on a node: what is here was left by one that was killed.
rm -rf "$state/playbooks" && mkdir -p "$box" || fail "cannot make $box"
file=$box/play/site.yaml
[ -d "${file%/*}" ] || mkdir -p "${file%/*}"
cat >"$file" <<'END_0' || fail "cannot write $file"
- hosts: all
END_0
variables=$box/.hamgr-variables.json
head -c 125 >"$variables" <<'END_0' || fail "cannot write $variables"
{"extra": {"k": [1, null]}, "hamgr_facts": {"os": "Debian"}, "hamgr_node": "n1", "name": "a b; touch canary", "port": "8080"}
END_0
umask 022 # for what the playbook makes; what is in the box cannot be reached by others
{
  cd "$box" && env ANSIBLE_NOCOLOR=1 ANSIBLE_STDOUT_CALLBACK=default ANSIBLE_RETRY_FILES_ENABLED=0 \
    ANSIBLE_DISPLAY_SKIPPED_HOSTS=0 ANSIBLE_HOME="$box/.ansible" ANSIBLE_LOCAL_TEMP="$box/.local" \
    ANSIBLE_REMOTE_TEMP="$box/.remote" ANSIBLE_PYTHON_INTERPRETER=auto_silent LC_ALL=C.UTF-8 \
    ansible-playbook -i "$node," -c local -e "@$variables" $mode "$playbook" </dev/null 2>&1
  echo $? >"$box/.hamgr-code"
} | if [ -n "$quiet" ]; then cat >"$box/.hamgr-output"; else tee "$box/.hamgr-output"; fi
read -r code <"$box/.hamgr-code" || fail 'ansible-playbook did not say how it ended'
changed=$(sed -n '/^PLAY RECAP/,$s/^.*[[:space:]]changed=\([0-9][0-9]*\)[[:space:]].*$/\1/p' \
  "$box/.hamgr-output" | sed -n '$p')
rm -rf "$box"
[ "$code" = 0 ] || fail "the playbook ended with exit status $code"
[ -n "$changed" ] || fail "no play of $playbook is for this node; write \`hosts: all\`"
[ "$changed" = 0 ] || done_ changed
done_ unchanged
