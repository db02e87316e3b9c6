#!/bin/sh
# Installs hamgr from the shared checkout into its own virtual environment, /opt/hamgr.
set -eu
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends python3-venv
python3 -m venv /opt/hamgr
/opt/hamgr/bin/pip install -q --require-hashes -r /vagrant/deploy/requirements.lock
/opt/hamgr/bin/pip install -q --no-deps /vagrant
