"""Which files cover a place and a time: an R-tree with true footprints, kept as GeoParquet."""

from geotoolbox.indexing.build import build_index, refresh_index
from geotoolbox.indexing.index import FileIndex
from geotoolbox.indexing.records import FileRecord

__all__ = ["FileIndex", "FileRecord", "build_index", "refresh_index"]
