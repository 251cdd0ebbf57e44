"""Scans the plugin's zip as plugins.qgis.org does: ``python scripts/scan_plugin.py ZIP``. Ends with 1 on a finding.

Of the engine's sources, which go along as plain files, bandit names assertions (B101) and the standard library's
functions that quote text for XML (B406), both of the lowest severity; the site shows them and blocks nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

INFORM = {("B101", "LOW"), ("B406", "LOW")}


def findings(folder: Path) -> list[str]:
    """Return what bandit and detect-secrets find below a folder."""
    words = [sys.executable, "-m", "bandit", "-q", "-r", "-f", "json", "."]
    found = json.loads(subprocess.run(words, cwd=folder, capture_output=True, check=False).stdout)  # noqa: S603
    rows = [f"{row['filename']}: {row['reason']}" for row in found["errors"]]
    for row in found["results"]:
        inside = "/engine/" in row["filename"]
        if not (inside and (row["test_id"], row["issue_severity"]) in INFORM):
            rows.append(f"{row['filename']}:{row['line_number']}: {row['test_id']} {row['issue_text']}")
    words = [sys.executable, "-m", "detect_secrets", "scan", "--all-files", "."]
    found = json.loads(subprocess.run(words, cwd=folder, capture_output=True, check=True).stdout)  # noqa: S603
    return rows + [f"{row['filename']}: {row['type']}" for some in found["results"].values() for row in some]


def main(path: Path) -> int:
    """Scan a zip; say what is found, or that the tools to look with are not there."""
    lacking = [name for name in ("bandit", "detect_secrets") if find_spec(name) is None]
    if lacking:
        sys.stdout.write(
            f"{path} is not scanned: {' and '.join(lacking)} are not installed (`make test` brings them)\n"
        )
        return 0
    with tempfile.TemporaryDirectory() as name, zipfile.ZipFile(path) as archive:
        folder = Path(name).resolve()
        for member in archive.infolist():
            target = (folder / member.filename).resolve()
            if not target.is_relative_to(folder):
                raise SystemExit(f"{member.filename} leads out of the zip")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(member))
        rows = findings(folder)
    sys.stdout.write(
        "\n".join([*rows, f"{len(rows)} findings in {path} ({path.stat().st_size / 1e6:.1f} MB)"]) + "\n"
    )
    return 1 if rows else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
