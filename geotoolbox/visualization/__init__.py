"""Pictures of data and results, and the HTML report. No pyplot: figures work in any thread."""

from geotoolbox.visualization.builders import evaluation_report, training_report
from geotoolbox.visualization.cartography import add_scale_bar, plot_areas, plot_footprints
from geotoolbox.visualization.charts import (
    plot_baselines,
    plot_class_balance,
    plot_confusion_matrix,
    plot_history,
    plot_scores,
)
from geotoolbox.visualization.histograms import plot_class_histograms, plot_histograms
from geotoolbox.visualization.images import (
    mask_rgba,
    rgb_bands,
    show_batch,
    show_error,
    show_image,
    show_mask,
    show_prediction,
    show_sample,
    stretch,
)
from geotoolbox.visualization.parts import Preview, SplitMap
from geotoolbox.visualization.report import Report, Section, Table, Tile, render_report
from geotoolbox.visualization.style import DARK, LIGHT, PAGE, Theme, to_png, to_svg
from geotoolbox.visualization.wording import Baseline, majority_baseline

__all__ = [
    "DARK",
    "LIGHT",
    "PAGE",
    "Baseline",
    "Preview",
    "Report",
    "Section",
    "SplitMap",
    "Table",
    "Theme",
    "Tile",
    "add_scale_bar",
    "evaluation_report",
    "majority_baseline",
    "mask_rgba",
    "plot_areas",
    "plot_baselines",
    "plot_class_balance",
    "plot_class_histograms",
    "plot_confusion_matrix",
    "plot_footprints",
    "plot_histograms",
    "plot_history",
    "plot_scores",
    "render_report",
    "rgb_bands",
    "show_batch",
    "show_error",
    "show_image",
    "show_mask",
    "show_prediction",
    "show_sample",
    "stretch",
    "to_png",
    "to_svg",
    "training_report",
]
