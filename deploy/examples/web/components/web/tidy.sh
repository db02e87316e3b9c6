#!/bin/sh
# Remove the directories, unless somebody else has put something there. The log of effects stays: evidence.
set -eu
for directory in /usr/local/lib/hamgr-web /srv/hamgr-web; do
  path=${HAMGR_ROOT:-}$directory
  [ ! -d "$path" ] || rmdir "$path" 2>/dev/null || echo "left $directory: it is not empty"
done
systemctl daemon-reload
