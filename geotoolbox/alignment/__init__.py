"""Any source onto a GeoBox: plan, read, mask; one resampling, and never a fill value in the data.

Example:
    >>> import rasterio, tempfile, numpy as np
    >>> from affine import Affine
    >>> from geotoolbox.core.header import describe
    >>> path = tempfile.mkdtemp() + "/a.tif"
    >>> with rasterio.open(path, "w", driver="GTiff", width=3, height=2, count=1, dtype="uint8", nodata=0,
    ...                    crs="EPSG:32612", transform=Affine(30, 0, 3e5, 0, -30, 4e6)) as out:
    ...     out.write(np.array([[[1, 2, 3], [4, 5, 0]]], "uint8"))
    >>> source = Source.from_header(describe(path))
    >>> image, valid = read_onto(source, source.geobox, "bilinear")
    >>> image.tolist(), valid.tolist()
    ([[[1.0, 2.0, 3.0], [4.0, 5.0, 0.0]]], [[[True, True, True], [True, True, False]]])
"""

from geotoolbox.alignment.execute import execute, execute_into, read_onto
from geotoolbox.alignment.mosaic import read_mosaic
from geotoolbox.alignment.plan import ReadPlan, explain, plan_read
from geotoolbox.alignment.source import Resampling, Source

__all__ = [
    "ReadPlan",
    "Resampling",
    "Source",
    "execute",
    "execute_into",
    "explain",
    "plan_read",
    "read_mosaic",
    "read_onto",
]
