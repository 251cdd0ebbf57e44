#!/usr/bin/env bash
# Makes the project's own .venv. Arguments: the extras to install (for example: dev), then "+system" to
# also install what the tests need from Debian's packages, where this user may do so.
# It can be run again at any time, also after it was stopped: what is there already is kept.
set -euo pipefail
cd "$(dirname "$0")/.."

extras=""
system=0
for word in "$@"; do
  if [ "$word" = "+system" ]; then system=1; else extras="${extras:+$extras,}$word"; fi
done

# Networks fail now and then: three tries, with a pause that grows.
retry() {
  local try
  for try in 1 2 3; do
    if "$@"; then return 0; fi
    if [ "$try" -lt 3 ]; then echo "That did not work: $* – trying again …" >&2; sleep $((try * ${RETRY_PAUSE_S:-5})); fi
  done
  return 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"
  elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then sudo -n "$@"
  else return 1; fi
}

may_install() { command -v apt-get >/dev/null 2>&1 && as_root true 2>/dev/null; }

# Waits for another apt that is at work (as on a machine that has just started), and downloads again what failed.
apt_get() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 "$@" >/dev/null
}

apt_install() {
  may_install || return 1
  if [ -z "${updated:-}" ]; then retry apt_get update || true; updated=1; fi  # old lists may still do
  retry apt_get install -y --no-install-recommends "$@"
}

find_python() {
  local name
  for name in python3 python3.11 python3.12 python3.13; do
    if command -v "$name" >/dev/null 2>&1 && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
    then echo "$name"; return; fi
  done
  return 1
}

has_chromium() {
  local name
  for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null 2>&1; then return 0; fi
  done
  return 1
}

has_qgis() { { command -v qgis_process.bin && command -v xvfb-run && /usr/bin/python3 -c 'import qgis.core'; } >/dev/null 2>&1; }

# What the tests need beside Python; each part that cannot be had is named, and only its tests are left out.
install_system() {
  if ! has_chromium; then
    apt_install chromium fonts-dejavu-core || true
    has_chromium || echo "Left out: the tests in a browser (no Chromium here, and it could not be installed: chromium)."
  fi
  if ! command -v gdalwarp >/dev/null 2>&1; then
    apt_install gdal-bin || true
    command -v gdalwarp >/dev/null 2>&1 ||
      echo "Left out: the tests against gdalwarp (not here, and it could not be installed: gdal-bin)."
  fi
  if ! has_qgis; then
    if may_install; then echo "Installing QGIS for the tests of the plugin (about 500 MB) …"; fi
    apt_install qgis python3-qgis xvfb xauth python3-venv || true
    has_qgis ||
      echo "Left out: the tests inside QGIS (not here, and it could not be installed: qgis python3-qgis xvfb xauth)."
  fi
}

python=$(find_python) || { apt_install python3 python3-venv && python=$(find_python); } || {
  echo "GeoToolbox needs Python 3.11 or newer. Fix: install it (Debian: apt-get install python3 python3-venv)." >&2
  exit 2
}

# An environment that was moved, or whose Python is gone, does not work: its programs name their old place.
here=$(pwd -P)
if [ -e .venv ] && ! { .venv/bin/python -c '' && [ "$(cat .venv/.place || echo "$here")" = "$here" ]; } 2>/dev/null
then
  echo "The .venv here does not work (moved, or half made): making it anew."
  rm -rf .venv
fi

if [ ! -e .venv ]; then
  echo "Making .venv with $("$python" --version) …"
  if command -v uv >/dev/null 2>&1; then uv venv -q --python "$python" .venv
  elif ! "$python" -m venv .venv >/dev/null 2>&1; then
    rm -rf .venv
    { apt_install python3-venv && "$python" -m venv .venv; } || {
      rm -rf .venv
      echo "This Python cannot make environments. Fix: apt-get install python3-venv, or install uv." >&2
      exit 2
    }
  fi
fi
printf '%s' "$here" > .venv/.place

# Debian's packages come while pip's are downloaded.
if [ "$system" -eq 1 ]; then
  install_system &
  trap 'wait' EXIT
fi

export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-300}"  # PyTorch is large
if command -v uv >/dev/null 2>&1; then uv=uv
else
  [ -x .venv/bin/uv ] || retry .venv/bin/python -m pip install -q --disable-pip-version-check uv || {
    echo "uv could not be installed. Fix: look at the network, then run the same command again." >&2
    exit 2
  }
  uv=.venv/bin/uv
fi

# The stamp tells whether what is installed is what is asked for.
want="$(cat pyproject.toml constraints.txt | cksum) $extras"
stamp=.venv/.geotoolbox-${extras//,/-}
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$want" ]; then
  echo "Installing GeoToolbox${extras:+ with $extras} (the first time this downloads PyTorch, about 3 GB) …"
  rm -f "$stamp"
  retry "$uv" pip install -q --python .venv/bin/python --constraint constraints.txt -e ".${extras:+[$extras]}" || {
    echo "The packages could not be installed. Fix: look at the message above and at the network, then run the same command again." >&2
    exit 2
  }
  printf '%s' "$want" > "$stamp"
fi

# QGIS's tests run in QGIS's own Python: an environment beside .venv that sees Debian's packages.
if [ "$system" -eq 1 ]; then
  wait
  if /usr/bin/python3 -c 'import qgis.core' >/dev/null 2>&1 &&
    ! { [ -f .venv-qgis/.ready ] && .venv-qgis/bin/python -c 'import pytest'; } 2>/dev/null; then
    "$uv" venv -q --clear --system-site-packages --python /usr/bin/python3 .venv-qgis
    retry "$uv" pip install -q --python .venv-qgis/bin/python "pytest>=8,<10" "pytest-qgis>=2" "pytest-timeout>=2.3"
    touch .venv-qgis/.ready
  fi
fi
