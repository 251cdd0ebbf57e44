#!/usr/bin/env bash
# Makes the project's own .venv. Arguments: the extras to install (for example: dev), then "+system" to
# also install what the tests need from Debian's packages, where this user may do so.
set -euo pipefail
cd "$(dirname "$0")/.."

extras=""
system=0
for word in "$@"; do
  if [ "$word" = "+system" ]; then system=1; else extras="${extras:+$extras,}$word"; fi
done

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"
  elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then sudo -n "$@"
  else return 1; fi
}

apt_install() {
  command -v apt-get >/dev/null 2>&1 || return 1
  as_root apt-get update -qq >/dev/null && as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

find_python() {
  local name
  for name in python3 python3.11 python3.12 python3.13; do
    if command -v "$name" >/dev/null 2>&1 && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
    then echo "$name"; return; fi
  done
  return 1
}

python=$(find_python) || { apt_install python3 python3-venv && python=$(find_python); } || {
  echo "GeoToolbox needs Python 3.11 or newer. Fix: install it (Debian: apt-get install python3 python3-venv)." >&2
  exit 2
}

if [ ! -x .venv/bin/python ]; then
  echo "Making .venv with $("$python" --version) …"
  if command -v uv >/dev/null 2>&1; then uv venv -q --python "$python" .venv
  elif ! "$python" -m venv .venv >/dev/null 2>&1; then
    rm -rf .venv
    apt_install python3-venv && "$python" -m venv .venv || {
      rm -rf .venv
      echo "This Python cannot make environments. Fix: apt-get install python3-venv, or install uv." >&2
      exit 2
    }
  fi
fi

if command -v uv >/dev/null 2>&1; then uv=uv
else
  [ -x .venv/bin/uv ] || .venv/bin/python -m pip install -q --disable-pip-version-check uv
  uv=.venv/bin/uv
fi

# The stamp tells whether what is installed is what is asked for.
want="$(cat pyproject.toml constraints.txt | cksum) $extras"
stamp=.venv/.geotoolbox-${extras//,/-}
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$want" ]; then
  echo "Installing GeoToolbox${extras:+ with $extras} (the first time this downloads PyTorch, about 3 GB) …"
  "$uv" pip install -q --python .venv/bin/python --constraint constraints.txt -e ".${extras:+[$extras]}"
  printf '%s' "$want" > "$stamp"
fi

if [ "$system" -eq 1 ] && ! command -v chromium >/dev/null 2>&1 && ! command -v google-chrome >/dev/null 2>&1; then
  apt_install chromium fonts-dejavu-core ||
    echo "No Chromium here and no right to install it: the tests of the widgets in a browser are left out."
fi

if [ "$system" -eq 1 ] && ! command -v gdalwarp >/dev/null 2>&1; then
  apt_install gdal-bin || echo "No gdalwarp here and no right to install it: the tests against gdalwarp are left out."
fi

# QGIS's tests run in QGIS's own Python: an environment beside .venv that sees Debian's packages.
if [ "$system" -eq 1 ]; then
  if ! { command -v qgis_process.bin && command -v xvfb-run && /usr/bin/python3 -c 'import qgis.core'; } >/dev/null 2>&1; then
    echo "Installing QGIS for the tests of the plugin (about 500 MB) …"
    apt_install qgis python3-qgis xvfb xauth python3-venv ||
      echo "No QGIS here and no right to install it: the tests inside QGIS are left out (needs: qgis python3-qgis xvfb)."
  fi
  if /usr/bin/python3 -c 'import qgis.core' >/dev/null 2>&1 && [ ! -f .venv-qgis/.ready ]; then
    "$uv" venv -q --clear --system-site-packages --python /usr/bin/python3 .venv-qgis
    "$uv" pip install -q --python .venv-qgis/bin/python "pytest>=8,<10" "pytest-qgis>=2" "pytest-timeout>=2.3"
    touch .venv-qgis/.ready
  fi
fi
