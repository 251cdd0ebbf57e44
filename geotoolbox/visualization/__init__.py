"""Pictures of data and results, and the HTML report. No pyplot: figures work in any thread.

One function a figure; each takes ``ax`` (or ``axes``) and a ``theme``, and returns what it drew into.
``save_figure`` writes any of them as PNG, SVG or PDF. docs/gallery.md shows them all.
"""

from geotoolbox.visualization.accuracy_report import accuracy_report, plot_class_accuracies
from geotoolbox.visualization.animation import animate_images
from geotoolbox.visualization.cartography import Backdrop, plot_areas, plot_block_scores, plot_footprints
from geotoolbox.visualization.charts import plot_baselines, plot_class_balance, plot_history, plot_scores
from geotoolbox.visualization.curves import plot_precision_recall, plot_reliability, plot_roc
from geotoolbox.visualization.estimates import plot_area_estimates
from geotoolbox.visualization.export import save_figure, to_png, to_svg
from geotoolbox.visualization.histograms import plot_class_histograms, plot_histograms, plot_normalisation
from geotoolbox.visualization.images import show_error, show_image, show_mask
from geotoolbox.visualization.mapframe import add_north_arrow, add_scale_bar, fit_map
from geotoolbox.visualization.matrix import matrix_order, plot_confusion_matrix
from geotoolbox.visualization.panels import show_batch, show_prediction, show_sample
from geotoolbox.visualization.parts import Preview, SplitMap
from geotoolbox.visualization.pixels import error_rgba, mask_rgba, rgb_bands, stretch, stretch_limits
from geotoolbox.visualization.report import Report, Section, Table, Tile, render_report
from geotoolbox.visualization.report_evaluation import evaluation_report
from geotoolbox.visualization.report_training import training_report
from geotoolbox.visualization.spectra import plot_features, plot_signatures
from geotoolbox.visualization.style import DARK, LIGHT, PAGE, AxesGrid, Theme, figure_of
from geotoolbox.visualization.wording import Baseline, majority_baseline

__all__ = [
    "DARK",
    "LIGHT",
    "PAGE",
    "AxesGrid",
    "Backdrop",
    "Baseline",
    "Preview",
    "Report",
    "Section",
    "SplitMap",
    "Table",
    "Theme",
    "Tile",
    "accuracy_report",
    "add_north_arrow",
    "add_scale_bar",
    "animate_images",
    "error_rgba",
    "evaluation_report",
    "figure_of",
    "fit_map",
    "majority_baseline",
    "mask_rgba",
    "matrix_order",
    "plot_area_estimates",
    "plot_areas",
    "plot_baselines",
    "plot_block_scores",
    "plot_class_accuracies",
    "plot_class_balance",
    "plot_class_histograms",
    "plot_confusion_matrix",
    "plot_features",
    "plot_footprints",
    "plot_histograms",
    "plot_history",
    "plot_normalisation",
    "plot_precision_recall",
    "plot_reliability",
    "plot_roc",
    "plot_scores",
    "plot_signatures",
    "render_report",
    "rgb_bands",
    "save_figure",
    "show_batch",
    "show_error",
    "show_image",
    "show_mask",
    "show_prediction",
    "show_sample",
    "stretch",
    "stretch_limits",
    "to_png",
    "to_svg",
    "training_report",
]
