"""Settings that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How fast a machine is never fails a test.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault(
    "OMP_WAIT_POLICY", "PASSIVE"
)  # as geotoolbox sets it; several tests share a small machine


@pytest.fixture(scope="session")
def zion() -> Path:
    """The folder of the Zion scene, where it is present beside the project."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data" / "zion"
    if not (folder / "landsat_b2.tif").exists():
        pytest.skip("the Zion scene is not here (../shared/data/zion)")
    return folder
