"""The dock: the live run, past runs, and the confusion matrix. Imported by the plugin's window part only."""

from .dock import GeoToolboxDock

__all__ = ["GeoToolboxDock"]
