#!/usr/bin/env bash
# Installs the S3 server of these tests, OpenStack Swift, into an environment of its own: `install_server.sh PYTHON DIRECTORY`.
# Its requirements would quarrel with this project's. Without it the tests that need it are skipped.
set -euo pipefail
python=$1 directory=$2
[ -x "$directory/bin/python" ] && "$directory/bin/python" -c "import swift.proxy.server" 2>/dev/null && exit 0
"$python" -m venv "$directory"
"$directory/bin/python" -m pip install --quiet --disable-pip-version-check "swift==2.38.3"
