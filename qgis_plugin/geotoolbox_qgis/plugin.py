"""What QGIS loads: the provider always, the dock and its button where there is a window."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from qgis.core import Qgis, QgsApplication, QgsSettings
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QPushButton

from .environment import MISSING
from .provider import GeoToolboxProvider
from .settings import current_engine, runs_folder
from .texts import tr

__all__ = ["GeoToolboxPlugin"]

_TOLD = "GeoToolbox/told_about_engine"


class GeoToolboxPlugin:
    """The plugin.

    Args:
        iface: QGIS's window; None in ``qgis_process``.
    """

    def __init__(self, iface: Any) -> None:
        self.iface = iface
        self.provider: Optional[GeoToolboxProvider] = None
        self.dock: Any = None
        self.action: Any = None

    def initProcessing(self) -> None:
        """Add the provider; ``qgis_process`` calls only this."""
        self.provider = GeoToolboxProvider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:
        """Add the provider and the dock."""
        self.initProcessing()
        if self.iface is None:
            return
        from .dock import GeoToolboxDock

        self.dock = GeoToolboxDock(self.iface, runs_folder())
        self.iface.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.dock)
        self.dock.hide()
        self.action = self.dock.toggleViewAction()
        self.action.setIcon(QIcon(str(Path(__file__).parent / "icons" / "geotoolbox.svg")))
        self.action.setText("GeoToolbox")
        self.iface.addToolBarIcon(self.action)
        self.iface.addPluginToMenu("GeoToolbox", self.action)
        self._tell_once()

    def unload(self) -> None:
        """Take everything away again."""
        if self.action is not None:
            self.iface.removeToolBarIcon(self.action)
            self.iface.removePluginMenu("GeoToolbox", self.action)
            self.action = None
        if self.dock is not None:
            self.dock.close_up()
            self.iface.removeDockWidget(self.dock)
            self.dock.deleteLater()
            self.dock = None
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None

    def _tell_once(self) -> None:
        """Point to 'Set up the engine', once in a profile, where there is no engine."""
        settings = QgsSettings()
        if current_engine() is not None or settings.value(_TOLD, False, bool):
            return
        settings.setValue(_TOLD, True)
        bar = self.iface.messageBar()
        note = bar.createMessage("GeoToolbox", tr(MISSING))
        button = QPushButton(tr("Set up the engine"))
        button.clicked.connect(_open_setup)
        note.layout().addWidget(button)
        bar.pushWidget(note, Qgis.MessageLevel.Info)


def _open_setup() -> None:
    import processing

    processing.execAlgorithmDialog("geotoolbox:setupengine", {})
