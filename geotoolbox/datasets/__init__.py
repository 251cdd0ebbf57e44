"""Files as layers: rasters, vectors, and their algebra."""

from geotoolbox.datasets.algebra import IntersectionDataset, UnionDataset
from geotoolbox.datasets.base import GeoDataset
from geotoolbox.datasets.clipped import ClippedDataset
from geotoolbox.datasets.masks import region_in, region_mask
from geotoolbox.datasets.raster import RasterDataset
from geotoolbox.datasets.regions import read_region
from geotoolbox.datasets.reprojected import ReprojectedDataset
from geotoolbox.datasets.vector import VectorDataset

__all__ = [
    "ClippedDataset",
    "GeoDataset",
    "IntersectionDataset",
    "RasterDataset",
    "ReprojectedDataset",
    "UnionDataset",
    "VectorDataset",
    "read_region",
    "region_in",
    "region_mask",
]
