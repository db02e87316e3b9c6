#!/bin/sh
# Put the page's checksum beside it, for whoever copies it. A handler: it runs when the page has changed.
set -eu
cd "${HAMGR_ROOT:-}/srv/hamgr-web"
sha256sum index.html >index.html.sha256.new
mv index.html.sha256.new index.html.sha256
