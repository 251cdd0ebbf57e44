"""Makes the plugin's zip: ``python scripts/make_plugin.py [FOLDER]``. The same files give the same bytes."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "qgis_plugin" / "geotoolbox_qgis"
KINDS = (".py", ".json", ".txt", ".svg", ".qm", "")
_DAY = (2020, 1, 1, 0, 0, 0)


def plugin_files() -> list[Path]:
    """Return the files that belong into the zip, sorted."""
    found = []
    for path in sorted(SOURCE.rglob("*")):
        inner = path.relative_to(SOURCE).parts
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in inner):
            if path.suffix in KINDS:
                found.append(path)
    return found


def make_plugin(folder: Path) -> Path:
    """Write ``geotoolbox_qgis.zip`` into a folder and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "geotoolbox_qgis.zip"
    part = target.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as out:
        for path in plugin_files():
            entry = zipfile.ZipInfo(f"geotoolbox_qgis/{path.relative_to(SOURCE).as_posix()}", _DAY)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(entry, path.read_bytes())
    part.replace(target)
    return target


if __name__ == "__main__":
    made = make_plugin(Path(sys.argv[1] if len(sys.argv) > 1 else "dist"))
    sys.stdout.write(f"{made}\n")
