"""The provider: all algorithms, always listed."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .algorithm import JobAlgorithm
from .definitions import ALGORITHMS
from .environment import VARIABLE
from .setup_algorithms import CheckEngine, SetupEngine
from .texts import tr

__all__ = ["GeoToolboxProvider"]

_ICON = Path(__file__).parent / "icons" / "geotoolbox.svg"


class GeoToolboxProvider(QgsProcessingProvider):
    """GeoToolbox in the Processing toolbox."""

    def id(self) -> str:
        """Return the id."""
        return "geotoolbox"

    def name(self) -> str:
        """Return the name."""
        return "GeoToolbox"

    def longName(self) -> str:
        """Return the name with what it is for."""
        return tr("GeoToolbox: deep learning on maps and images")

    def icon(self) -> QIcon:
        """Return the icon."""
        return QIcon(str(_ICON))

    def svgIconPath(self) -> str:
        """Return the path of the icon."""
        return str(_ICON)

    def loadAlgorithms(self) -> None:
        """Add all algorithms, whether there is an engine or not."""
        self.addAlgorithm(SetupEngine())
        self.addAlgorithm(CheckEngine())
        for definition in ALGORITHMS:
            self.addAlgorithm(JobAlgorithm(definition))

    def load(self) -> bool:
        """Add the option for the engine's Python, and the algorithms."""
        _add_option(self.name(), self.icon())
        self.refreshAlgorithms()
        return True

    def unload(self) -> None:
        """Take the option away."""
        try:
            from processing.core.ProcessingConfig import ProcessingConfig
        except ImportError:
            return
        ProcessingConfig.removeSetting(VARIABLE)

    def supportsNonFileBasedOutput(self) -> bool:
        """Tell that outputs are files: the engine writes them."""
        return False

    def supportedOutputRasterLayerExtensions(self) -> list[str]:
        """Return the kinds of raster files that are written."""
        return ["tif"]

    def supportedOutputVectorLayerExtensions(self) -> list[str]:
        """Return the kinds of vector files that are written."""
        return ["gpkg", "geojson"]

    def defaultRasterFileExtension(self) -> str:
        """Return the usual kind of raster file."""
        return "tif"

    def defaultVectorFileExtension(self, hasGeometry: bool = True) -> str:
        """Return the usual kind of vector file."""
        return "gpkg"


def _add_option(group: str, icon: QIcon) -> None:
    """Add the option, where Processing's own options are there (not in a bare QgsApplication)."""
    try:
        from processing.core.ProcessingConfig import ProcessingConfig, Setting
    except ImportError:
        return
    ProcessingConfig.settingIcons[group] = icon
    title = tr("Python with the GeoToolbox engine (empty: the one that 'Set up the engine' made)")
    ProcessingConfig.addSetting(Setting(group, VARIABLE, title, "", valuetype=Setting.FILE))
    ProcessingConfig.readSettings()
