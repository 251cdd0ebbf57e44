"""How results arrive in the project: named, styled, and in one group on top of the layer tree.

Colours and names of classes live in the files (``.qml``, attribute table, GeoPackage style), where the engine
puts them; QGIS loads them by itself, and so does a colleague's QGIS. What is left to do here is to name the
layers, to put them into the group, and to style what has no style of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Callable

from qgis.core import (
    QgsColorRampShader,
    QgsMapLayer,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProject,
    QgsRasterLayer,
    QgsRasterShader,
    QgsSingleBandPseudoColorRenderer,
)
from qgis.PyQt.QtCore import QCoreApplication
from qgis.PyQt.QtGui import QColor

__all__ = [
    "GROUP",
    "after_loading",
    "move_to_group",
    "ramp_renderer",
    "results_group",
    "style_layer",
    "style_outputs",
]

GROUP = "GeoToolbox"

# Dark blue, green, yellow: equal steps for the eye, and for colour-blind ones (after viridis).
_RAMP = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")

# What an output is, by its name; order is from the top of the tree to its bottom.
_ORDER = ("REFERENCE", "POINTS", "ERRORS", "FOLDS_OUTPUT", "POLYGONS", "INSIDE", "OUTPUT", "CONFIDENCE", "ENTROPY",
          "PROBABILITIES")  # fmt: skip
_TITLES = {
    "ERRORS": "Errors",
    "FOLDS_OUTPUT": "Folds",
    "INSIDE": "Applicable",
    "POLYGONS": "Polygons",
    "CONFIDENCE": "Confidence",
    "ENTROPY": "Entropy",
    "PROBABILITIES": "Probabilities",
}
_RAMPED = ("CONFIDENCE", "ENTROPY", "PROBABILITIES")


def tr(text: str) -> str:
    """Translate a text of this module."""
    return QCoreApplication.translate("GeoToolbox", text)


def style_outputs(
    context: QgsProcessingContext,
    outputs: Mapping[str, Any],
    feedback: QgsProcessingFeedback | None = None,
) -> None:
    """Prepare the layers that QGIS will load after the run.

    Args:
        context: The run's context; only layers that it will load are touched.
        outputs: Output name → path, as the algorithm returns them.
        feedback: Hears of a layer that could not be prepared; a style is no reason to fail a run.
    """
    for name, path in outputs.items():
        try:
            if isinstance(path, str) and context.willLoadLayerOnCompletion(path):
                _prepare(context.layerToLoadOnCompletionDetails(path), name)
        except (
            Exception
        ) as error:  # pragma: no cover - a new QGIS may refuse; the result is there all the same
            if feedback is not None:
                feedback.pushInfo(f"{tr('The style of this layer was left as it is')}: {path} ({error})")


def _prepare(details: QgsProcessingContext.LayerDetails, name: str) -> None:
    if hasattr(details, "layerSortKey"):  # QGIS 3.32
        details.layerSortKey = len(_ORDER) - _rank(name)
    after_loading(details, partial(_finish, name))


def _title(layer: QgsMapLayer, output: str) -> str:
    """Return the layer's name, with what it is where QGIS took the file's name, which several may share."""
    kind = _TITLES.get(output)
    stem = Path(layer.source().split("|", 1)[0]).stem
    return f"{stem} · {tr(kind)}" if kind is not None and layer.name() == stem else layer.name()


def _rank(name: str) -> int:
    return _ORDER.index(name) if name in _ORDER else _ORDER.index("OUTPUT")


class _PostProcessor(QgsProcessingLayerPostProcessorInterface):
    """Does some work on a layer once QGIS has loaded it, in the main thread."""

    _alive: list[_PostProcessor] = []  # noqa: RUF012 - QGIS keeps no reference of its own

    def __init__(self, work: Callable[[QgsMapLayer, QgsProject], None]) -> None:
        super().__init__()
        self.work = work

    @classmethod
    def make(cls, work: Callable[[QgsMapLayer, QgsProject], None]) -> _PostProcessor:
        """Return a post-processor that lives until it has run."""
        made = cls(work)
        cls._alive = [*cls._alive[-63:], made]  # a run whose layers were never loaded leaves none for good
        return made

    def postProcessLayer(
        self, layer: QgsMapLayer, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> None:
        """Do the work."""
        try:
            self.work(layer, context.project() or QgsProject.instance())
        finally:
            type(self)._alive = [other for other in self._alive if other is not self]


def after_loading(
    details: QgsProcessingContext.LayerDetails, work: Callable[[QgsMapLayer, QgsProject], None]
) -> None:
    """Let ``work`` be done on a layer, in the main thread, once QGIS has loaded it."""
    details.setPostProcessor(_PostProcessor.make(work))


def _finish(output: str, layer: QgsMapLayer, project: QgsProject) -> None:
    """Style a result, name it, and put it into the group."""
    if not _has_own_style(output):
        style_layer(layer, output)
    layer.setName(_title(layer, output))
    move_to_group(project, layer, _rank(output))


def _has_own_style(output: str) -> bool:
    """Tell whether the person chose a style for this output (in the algorithm's menu in the toolbox)."""
    try:
        from processing.gui.RenderingStyles import RenderingStyles
    except ImportError:  # qgis_process, a script: no toolbox, no menu
        return False
    chosen = [outputs for alg, outputs in RenderingStyles.styles.items() if alg.startswith("geotoolbox:")]
    return any(outputs.get(output) for outputs in chosen)


def style_layer(layer: QgsMapLayer, output: str) -> None:
    """Load the style that is in, or beside, the file; probabilities get one for each band."""
    layer.loadDefaultStyle()  # Processing loads layers without it
    if output not in _RAMPED or not isinstance(layer, QgsRasterLayer):
        return
    if not isinstance(layer.renderer(), QgsSingleBandPseudoColorRenderer):
        layer.setRenderer(ramp_renderer(layer, 1))
    if layer.bandCount() > 1:
        _add_band_styles(layer)


def _add_band_styles(layer: QgsRasterLayer) -> None:
    """Make each band a style of its own, by its name, in the layer's style menu."""
    styles = layer.styleManager()
    names = [layer.bandName(i).split(": ", 1)[-1] for i in range(1, layer.bandCount() + 1)]
    styles.renameStyle(styles.currentStyle(), names[0])
    for band, name in enumerate(names[1:], start=2):
        if styles.addStyleFromLayer(name):
            styles.setCurrentStyle(name)
            layer.setRenderer(ramp_renderer(layer, band))
    styles.setCurrentStyle(names[0])


def ramp_renderer(layer: QgsRasterLayer, band: int) -> QgsSingleBandPseudoColorRenderer:
    """Return a renderer that shows 0 to 1 with an even ramp."""
    function = QgsColorRampShader(0.0, 1.0)
    function.setColorRampType(QgsColorRampShader.Type.Interpolated)
    steps = len(_RAMP) - 1
    function.setColorRampItemList(
        [
            QgsColorRampShader.ColorRampItem(i / steps, QColor(color), f"{100 * i / steps:.0f} %")
            for i, color in enumerate(_RAMP)
        ]
    )
    shader = QgsRasterShader()
    shader.setRasterShaderFunction(function)
    renderer = QgsSingleBandPseudoColorRenderer(layer.dataProvider(), band, shader)
    renderer.setClassificationMin(0.0)
    renderer.setClassificationMax(1.0)
    return renderer


def results_group(project: QgsProject) -> Any:
    """Return the group of results, made on top of the tree when it is not there."""
    root = project.layerTreeRoot()
    return root.findGroup(GROUP) or root.insertGroup(0, GROUP)


def move_to_group(project: QgsProject, layer: QgsMapLayer, rank: int = 0) -> None:
    """Put a layer into the group of results, by rank; layers of the person's own stay where they are."""
    node = project.layerTreeRoot().findLayer(layer.id())
    if node is None:
        return
    group = results_group(project)
    copy = node.clone()
    copy.setCustomProperty("geotoolbox/rank", rank)
    others = [(i, other) for i, other in enumerate(group.children()) if other is not node]
    below = (i for i, other in others if int(other.customProperty("geotoolbox/rank", 99)) >= rank)
    place = next(below, len(group.children()))
    group.insertChildNode(place, copy)
    node.parent().removeChildNode(node)


def layers_in_group(project: QgsProject) -> dict[str, QgsMapLayer]:
    """Return the layers of the group by name."""
    group = project.layerTreeRoot().findGroup(GROUP)
    found = [] if group is None else [node.layer() for node in group.findLayers()]
    return {layer.name(): layer for layer in found if layer is not None}
