#!/usr/bin/env bash
# Runs the tests inside QGIS: in QGIS's own Python, with a profile of their own, without a screen.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ ! -x .venv-qgis/bin/python ]; then
  echo "No QGIS with its Python here (Debian: apt-get install qgis python3-qgis xvfb): the tests inside QGIS are left out."
  exit 0
fi

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
mkdir -m 700 "$home/run"
# A Python of another origin that comes first on PATH would be taken by QGIS for its own.
env -u PYTHONPATH -u PYTHONHOME -u VIRTUAL_ENV \
  HOME="$home" XDG_RUNTIME_DIR="$home/run" XDG_DATA_HOME="$home/.local/share" XDG_CONFIG_HOME="$home/.config" \
  QT_QPA_PLATFORM=offscreen PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1 PATH="/usr/bin:/bin:$PATH" \
  GEOTOOLBOX_PYTHON="${GEOTOOLBOX_PYTHON:-$PWD/.venv/bin/python}" \
  .venv-qgis/bin/python -m pytest -c tests/qgis/inside/pytest.ini --rootdir "$home" "${@:-tests/qgis/inside}"
