"""Settings that all tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LONGEST_FIRST = (
    "widgets/test_notebooks.py",
    "widgets/test_browser_explorer.py",
    "scale/test_dask.py",
    "jobs/test_end_to_end.py",
    "widgets/test_browser_layermap.py",
    "scale/test_training.py",
    "trainers/test_training.py",
    "widgets/test_browser_samples.py",
    "widgets/test_browser_notebook7.py",
    "widgets/test_trainer.py",
    "sampling/test_processes.py",
    "jobs/test_known_ground.py",
    "widgets/test_prediction.py",
    "cli/test_cli.py",
    "scale/test_shards.py",
    "prediction/test_kill.py",
    "visualization/test_report_browser.py",
    "qgis/test_package.py",
    "qgis/test_install.py",
    "models/test_bundle.py",
)
"""The files that take longest, in this order: begun first, they leave no process alone at the end."""

# How fast a machine is never fails a test. A person's run looks for new examples; that of CI repeats its own.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("patient"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "patient")

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as geotoolbox sets it
os.environ.setdefault("OMP_NUM_THREADS", "1")  # several processes of tests share a small machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first; the rest stays as it is."""
    rank = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get("/".join(item.path.parts[-2:]), len(rank)))


@pytest.fixture(scope="session")
def zion() -> Path:
    """The folder of the Zion scene, where it is present beside the project."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data" / "zion"
    if not (folder / "landsat_b2.tif").exists():
        pytest.skip("the Zion scene is not here (../shared/data/zion)")
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The Chromium that is there; one for all tests of a process, since Playwright runs once in each."""
    from playwright.sync_api import sync_playwright

    program = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"],
        )
        yield launched
        launched.close()
