#!/bin/sh
# Installs the server into a Debian root, from /wheels and nothing else.
set -eu
python3 -m venv /opt/intact
/opt/intact/bin/pip install -q --no-index --no-cache-dir --find-links /wheels 'intact-llm[serve]'
