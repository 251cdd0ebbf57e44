#!/usr/bin/env bash
# Makes the environments of the peers: .venv-peers/torchgeo and .venv-peers/rastervision. Needs uv (that of .venv will do).
# Each peer has an environment of its own, since their versions of GDAL, NumPy and Python differ.
set -uo pipefail
cd "$(dirname "$0")/.."
uv=$(command -v uv || echo .venv/bin/uv)

newest_python() { # a Python ≥ 3.12 with the standard library whole, or nothing
  local candidate
  for candidate in "$HOME"/.pyenv/versions/3.1[2-9]*/bin/python3 $(command -v python3.13 python3.12 python3 2>/dev/null); do
    if "$candidate" -c 'import sys, ssl, sqlite3; sys.exit(sys.version_info < (3, 12))' 2>/dev/null
    then echo "$candidate"; return; fi
  done
}

make_peer() { # name, python, requirement
  [ -x ".venv-peers/$1/bin/python" ] || "$uv" venv -q --python "$2" ".venv-peers/$1" 2>/dev/null || return 1
  "$uv" pip install -q --python ".venv-peers/$1/bin/python" "$3" 2>&1 | tail -5
  ".venv-peers/$1/bin/python" -c "from importlib.metadata import version as v; print('$1', v('$1'))"
}

python=$(newest_python)
if [ -n "$python" ]; then make_peer torchgeo "$python" "torchgeo==0.10.1"
else
  echo "No Python 3.12 or newer here: TorchGeo 0.8.1, the last for 3.11, in place of 0.10.1."
  make_peer torchgeo "$(command -v python3)" "torchgeo==0.8.1"
fi || echo "TorchGeo cannot be installed here; its column stays empty."
make_peer rastervision "$(command -v python3.11 || command -v python3)" "rastervision==0.31.1" ||
  echo "Raster Vision cannot be installed here; its column stays empty."
exit 0
