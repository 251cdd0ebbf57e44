"""How *check* looks at an installation."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from geotoolbox import __version__
from geotoolbox.core.events import Reporter, Stage
from geotoolbox.core.files import free_bytes
from geotoolbox.errors import BadInput, explain
from geotoolbox.jobs.check import CheckJobResult, Spec

__all__ = ["check_installation"]

_PARTS = {
    "numpy": "numpy", "rasterio": "rasterio", "pyproj": "pyproj", "shapely": "shapely", "pyogrio": "pyogrio",
    "geopandas": "geopandas", "odc.geo": "odc-geo", "torch": "torch", "lightning": "lightning", "kornia": "kornia",
    "timm": "timm", "segmentation_models_pytorch": "segmentation-models-pytorch", "matplotlib": "matplotlib",
}  # fmt: skip
_STEPS = 40


def check_installation(spec: Spec, events: Reporter) -> CheckJobResult:
    """Do what the job *check* says."""
    stage = Stage(events, "check", len(_PARTS) + 2)
    lines = [
        f"GeoToolbox {__version__}",
        f"Python {platform.python_version()} at {_without_home(sys.executable)}",
        f"{platform.platform()}, {os.cpu_count()} processors, {_memory()}",
    ]
    for module, package in _PARTS.items():
        lines.append(f"{package} {_import(module, package)}")
        stage.advance(1, package)
    device = _device(lines)
    if spec.train:
        _try_raster()
        stage.advance(1, "raster")
        lines.append(
            f"trial: a raster written and read, a network trained on {device}: {_try_training(device)}"
        )
        stage.advance(1, "training")
    free_gb = round(free_bytes(Path(tempfile.gettempdir())) / 1e9, 1)
    lines.append(f"{free_gb} GB free in {_without_home(tempfile.gettempdir())}")
    return CheckJobResult("\n".join(lines), device, __version__, free_gb)


def _import(module: str, package: str) -> str:
    try:
        import_module(module)
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"
    except Exception as error:
        raise BadInput(
            explain(
                "a part of the engine cannot be used",
                where=package,
                got=f"{type(error).__name__}: {error}",
                fix="install geotoolbox again into an environment of its own",
            )
        ) from error


def _device(lines: list[str]) -> str:
    import torch

    from geotoolbox.models.devices import find_device

    device = find_device("auto")
    name = torch.cuda.get_device_name(0) if device == "cuda" else f"{torch.get_num_threads()} threads"
    lines.append(f"device {device} ({name})")
    return device


def _try_raster() -> None:
    """Write a GeoTIFF with a CRS and read it again: GDAL and PROJ find their files."""
    import rasterio
    from affine import Affine

    data = np.arange(64, dtype="uint16").reshape(1, 8, 8)
    with tempfile.TemporaryDirectory(prefix="geotoolbox-") as folder:
        path = Path(folder) / "trial.tif"
        shape = {"height": 8, "width": 8, "count": 1, "dtype": "uint16"}
        with rasterio.open(
            path, "w", driver="GTiff", crs="EPSG:32632", transform=Affine(10, 0, 5e5, 0, -10, 5e6), **shape
        ) as out:
            out.write(data)
        with rasterio.open(path) as source:
            same = np.array_equal(source.read(), data) and source.crs.to_epsg() == 32632
    if not same:
        raise BadInput(
            explain("a raster is not read as it was written", fix="install rasterio again; check PROJ_LIB")
        )


def _try_training(device: str) -> str:
    """Fit a line with a network of two weights; return how the loss went."""
    import torch

    x = torch.linspace(-1, 1, 64, device=device)[:, None]
    y = 3 * x + 1
    line = torch.nn.Linear(1, 1).to(device)
    optimizer = torch.optim.SGD(line.parameters(), lr=0.3)
    losses = []
    for _ in range(_STEPS):
        loss = torch.nn.functional.mse_loss(line(x), y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    if not losses[-1] < 0.05 * losses[0]:
        raise BadInput(
            explain(
                "a trial training does not learn",
                where=device,
                got=f"loss {losses[0]:.3g} → {losses[-1]:.3g}",
            )
        )
    return f"loss {losses[0]:.2g} to {losses[-1]:.2g}"


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.1f} GB memory"
    except (AttributeError, ValueError, OSError):  # Windows
        return "memory not known"


def _without_home(path: str) -> str:
    home = str(Path.home())
    return path.replace(home, "~", 1) if len(home) > 1 and path.startswith(home) else path
