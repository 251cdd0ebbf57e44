"""Draws docs/gallery.md: every figure of geotoolbox.visualization, with the code that draws it.

``make docs`` runs this. The code on the page is the code below: each function's body is shown as it stands.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import re
import sys
import tempfile
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from shapely.geometry import box
from sklearn.ensemble import RandomForestClassifier

from geotoolbox import Query, RandomGeoSampler, RasterDataset, Region, VectorDataset, spatial_split
from geotoolbox import visualization as viz
from geotoolbox.core.classes import ClassTable
from geotoolbox.jobs.demo_scene import DEMO_CLASSES, make_demo_scene
from geotoolbox.metrics import compute_scores, confusion_matrix
from geotoolbox.metrics.curves import ScoreCounts
from geotoolbox.metrics.design_based import AccuracyEstimate, assess_accuracy
from geotoolbox.metrics.estimators import DesignSample

FOLDER = Path(__file__).parent
IMAGES = FOLDER / "images" / "gallery"
LONGEST_PX = 1400
PAGES = ("report", "evaluation_", "framing", "page", "parts", "webmap")  # modules that draw no figure


@dataclass(frozen=True)
class Scene:
    """A small piece of the demo scene, and a map of it by a random forest."""

    dataset: Any
    geobox: GeoBox
    image: NDArray[Any]
    mask: NDArray[Any]
    valid: NDArray[np.bool_]
    classes: ClassTable
    names: tuple[str, ...]
    predicted: NDArray[Any]
    probabilities: NDArray[Any]
    held_out: NDArray[np.bool_]

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top."""
        edges = self.geobox.extent.boundingbox
        return (edges.left, edges.bottom, edges.right, edges.top)

    @property
    def crs(self) -> str:
        """The grid's CRS."""
        return str(self.geobox.crs)


def load_scene(folder: Path) -> Scene:
    """Make the demo scene, read its western image, and map it."""
    files = make_demo_scene(folder, seed=7, size_px=480)
    images = RasterDataset([str(files.images[0])], kind="image")
    dataset = images & VectorDataset([str(files.label_polygons)], column="class")
    geobox = images.scenes()[0].geobox[150:414, :]
    dataset = dataset.within(Region(geobox.extent.geom, str(geobox.crs)))
    reading = dataset.read(Query(geobox))
    image, mask, valid = reading.image, reading.mask, np.asarray(reading.valid)
    labelled = valid & (mask >= 0)
    trained = labelled & (np.arange(mask.shape[1]) < mask.shape[1] // 2)
    forest = RandomForestClassifier(60, max_samples=2000, random_state=0)
    forest.fit(image[:, trained].T, mask[trained])
    probabilities = np.full((len(forest.classes_), *mask.shape), np.nan, dtype=np.float32)
    probabilities[:, valid] = forest.predict_proba(image[:, valid].T).T
    predicted = np.where(valid, np.nan_to_num(probabilities).argmax(axis=0), -1)
    colors = dict(zip(DEMO_CLASSES.names, DEMO_CLASSES.colors, strict=True))
    names = dataset.classes.names
    classes = ClassTable.from_names(list(names), {i: colors[n] for i, n in enumerate(names)})
    bands = tuple(b.name for b in images.bands)
    held_out = labelled & ~trained
    return Scene(dataset, geobox, image, mask, valid, classes, bands, predicted, probabilities, held_out)


def assess(s: Scene) -> AccuracyEstimate:
    """Draw 100 points in each class of the map, look at their labels, and estimate."""
    rng, k = np.random.default_rng(5), len(s.classes)
    mapped = np.where(s.mask >= 0, s.predicted, -1)
    sizes = np.array([(mapped == i).sum() for i in range(k)])
    points = np.zeros((k, k), dtype=int)
    for i in range(k):
        drawn = rng.choice(np.flatnonzero(mapped.ravel() == i), 100, replace=False)
        points[i] = np.bincount(s.mask.ravel()[drawn], minlength=k)
    sample = DesignSample.from_matrix(points, sizes, s.classes.names)
    return assess_accuracy(sample, s.classes.names, total_area_ha=float(sizes.sum()) / 100)


def show_image(s: Scene) -> Axes:
    """An image. Bands by name, stretched between two percentiles of the valid pixels."""
    bands = viz.rgb_bands(s.names)
    return viz.show_image(s.image, s.valid, bands, bounds=s.bounds, crs=s.crs)


def show_mask(s: Scene) -> Axes:
    """A mask. With the classes that occur in it."""
    return viz.show_mask(s.mask, s.classes, bounds=s.bounds, crs=s.crs)


def show_error(s: Scene) -> Axes:
    """Where two masks differ. Pixels that lack a class in either are left out."""
    return viz.show_error(s.mask, s.predicted, bounds=s.bounds, crs=s.crs)


def show_prediction(s: Scene) -> Sequence[Axes]:
    """Image, reference, map and error. What is not given has no panel."""
    return viz.show_prediction(
        s.predicted, s.classes, image=s.image, valid=s.valid, bands=(2, 1, 0), truth=s.mask
    )


def show_sample(s: Scene) -> Sequence[Axes]:
    """A sample. What a dataset gives for a query; arrays or tensors."""
    sample = s.dataset[Query(s.geobox[20:148, 60:188])]
    return viz.show_sample(sample, s.classes, bands=(2, 1, 0))


def show_batch(s: Scene) -> Sequence[Axes]:
    """A batch. Images above, their masks below."""
    windows = list(RandomGeoSampler(s.dataset, 64, 8, seed=1))
    samples = [s.dataset[query] for query in windows]
    batch = {key: np.stack([np.asarray(one[key]) for one in samples]) for key in ("image", "mask", "valid")}
    return viz.show_batch(batch, s.classes, bands=(2, 1, 0))


def plot_confusion_matrix(s: Scene) -> Axes:
    """A confusion matrix. Rows are the reference; each number is a share of its row, in per cent."""
    counts = confusion_matrix(s.mask[s.held_out], s.predicted[s.held_out], len(s.classes))
    return viz.plot_confusion_matrix(counts, s.classes, "truth", sort="frequency")


def plot_confusion_matrix_many(s: Scene) -> Axes:
    """Many classes. Classes that are taken for each other stand side by side (``sort="confusion"``)."""
    rng = np.random.default_rng(3)
    place = rng.random((40, 2))
    near = np.exp(-((place[:, None] - place[None]) ** 2).sum(axis=-1) / 0.012)
    counts = rng.poisson(near * rng.lognormal(6, 1, (40, 1)))
    names = [f"habitat {i + 1}" for i in range(40)]
    return viz.plot_confusion_matrix(counts, ClassTable.from_names(names), sort="confusion")


def plot_scores(s: Scene) -> Axes:
    """Scores of each class. The bar is the IoU; precision and recall are marks."""
    counts = confusion_matrix(s.mask[s.held_out], s.predicted[s.held_out], len(s.classes))
    return viz.plot_scores(compute_scores(counts, s.classes.names), s.classes)


def plot_baselines(s: Scene) -> Axes:
    """Against baselines. The first row is the model; a map is worth its effort when it beats something simple."""
    truth, seen, k = s.mask[s.held_out], s.image[:, s.held_out].T, len(s.classes)
    means = np.stack([seen[truth == i].mean(axis=0) for i in range(k)])
    nearest = ((seen[:, None] - means) ** 2).sum(axis=-1).argmin(axis=1)
    maps = {"Random forest": s.predicted[s.held_out], "Nearest class mean": nearest}
    found = {n: compute_scores(confusion_matrix(truth, m, k), s.classes.names) for n, m in maps.items()}
    rows = [(name, f.overall_accuracy, f.mean_iou) for name, f in found.items()]
    simple = viz.majority_baseline(found["Random forest"])
    return viz.plot_baselines([*rows, (simple.name.capitalize(), simple.overall_accuracy, simple.mean_iou)])


def plot_roc(s: Scene) -> Axes:
    """ROC. One curve a class against the rest; the area under it is in the legend."""
    counts = ScoreCounts(len(s.classes))
    counts.update(s.probabilities, np.where(s.held_out, s.mask, -1))
    curves = [curve.thin() for curve in counts.curves(s.classes.names).classes]
    false_positive, true_positive = zip(*(curve.roc() for curve in curves), strict=True)
    areas = [curve.auc for curve in curves]
    return viz.plot_roc(false_positive, true_positive, s.classes.names, areas, s.classes.colors)


def plot_precision_recall(s: Scene) -> Axes:
    """Precision and recall. The dotted lines are what guessing reaches: how frequent each class is."""
    counts = ScoreCounts(len(s.classes))
    counts.update(s.probabilities, np.where(s.held_out, s.mask, -1))
    curves = [curve.thin() for curve in counts.curves(s.classes.names).classes]
    precision, recall = zip(*(curve.precision_recall() for curve in curves), strict=True)
    areas = [curve.average_precision for curve in curves]
    shares = [curve.positives / (curve.positives + curve.negatives) for curve in curves]
    return viz.plot_precision_recall(
        recall, precision, s.classes.names, areas, s.classes.colors, shares=shares
    )


def plot_reliability(s: Scene) -> Axes:
    """Reliability. On the diagonal the model is as sure as it is right; a larger mark stands for more pixels."""
    sure = s.probabilities.max(axis=0)[s.held_out]
    right = (s.predicted == s.mask)[s.held_out]
    place = np.minimum((sure * 12).astype(int), 11)
    counts = np.bincount(place, minlength=12)
    confidence, accuracy = (np.bincount(place, v, 12) / np.maximum(counts, 1) for v in (sure, right))
    error = float((np.abs(confidence - accuracy) * counts).sum() / counts.sum())
    return viz.plot_reliability(confidence, accuracy, counts, error=error, label="random forest")


def plot_history(s: Scene) -> Axes:
    """Training history. The epoch whose weights were kept is marked."""
    epochs = np.arange(24)
    train = 0.35 + 1.2 * np.exp(-epochs / 5)
    validation = 0.48 + 1.1 * np.exp(-epochs / 4) + 0.0006 * np.maximum(epochs - 14, 0) ** 2
    history = [
        {"epoch": int(e), "train_loss": t, "validation_loss": v}
        for e, t, v in zip(epochs, train, validation, strict=True)
    ]
    return viz.plot_history(history, best_epoch=int(validation.argmin()), label="loss")


def plot_histograms(s: Scene) -> Axes:
    """Histograms by band. Pixels without data do not count."""
    return viz.plot_histograms(s.image, s.valid, s.names, label="reflectance × 10,000")


def plot_normalisation(s: Scene) -> Sequence[Axes]:
    """Before and after normalisation. What the network gets should lie around 0 ± 1."""
    seen = s.image[:, s.valid]
    mean, deviation = seen.mean(axis=1), seen.std(axis=1)
    normalised = (s.image - mean[:, None, None]) / deviation[:, None, None]
    return viz.plot_normalisation(s.image, normalised, s.valid, s.names)


def plot_class_histograms(s: Scene) -> Axes:
    """Histograms by class. Classes that lie apart in a band are easy to tell apart."""
    return viz.plot_class_histograms(s.image[3], s.mask, s.classes, valid=s.valid, label="near infrared")


def plot_signatures(s: Scene) -> Axes:
    """Spectral signatures. The median of each class in each band, and the middle half around it."""
    return viz.plot_signatures(
        s.image, s.mask, s.classes, wavelengths_nm=(490, 560, 665, 842), valid=s.valid,
        label="reflectance × 10,000",
    )  # fmt: skip


def plot_features(s: Scene) -> Axes:
    """Features on their two main axes (PCA). Each class has a shape of its own besides its colour."""
    inside = np.flatnonzero(s.held_out.ravel())[::17]
    features = s.image.reshape(len(s.image), -1).T[inside]
    return viz.plot_features(features, s.mask.ravel()[inside], s.classes, limit=900)


def plot_class_balance(s: Scene) -> Axes:
    """Class balance by split. A class that one split lacks cannot be judged there."""
    parts = {"train": s.mask[:, :132], "validation": s.mask[:, 132:198], "test": s.mask[:, 198:]}
    counts = {name: np.bincount(m[m >= 0], minlength=len(s.classes)).tolist() for name, m in parts.items()}
    return viz.plot_class_balance(counts, s.classes)


def plot_areas(s: Scene) -> Axes:
    """A spatial split. Blocks with a buffer between them, over the scene."""
    split = spatial_split(s.dataset, {"train": 0.6, "validation": 0.2, "test": 0.2}, seed=4)
    areas = {name: region.geometry for name, region in split.regions.items()}
    crs = next(iter(split.regions.values())).crs
    return viz.plot_areas(areas, crs)


def plot_footprints(s: Scene) -> Axes:
    """Where a sampler drew its patches. Over the image, here."""
    windows = list(RandomGeoSampler(s.dataset, 48, 60, seed=2))
    patches = [box(*query.geobox.extent.boundingbox) for query in windows]
    backdrop = viz.Backdrop(viz.stretch(s.image, s.valid, (2, 1, 0), gamma=0.75), s.bounds)
    footprints = [box(*s.bounds)]
    return viz.plot_footprints(footprints, s.crs, patches=patches, backdrop=backdrop)


def plot_block_scores(s: Scene) -> Axes:
    """A score in each block. Where the map is good, and where it is not."""
    values, polygons = [], []
    for row in range(0, s.mask.shape[0] - 39, 40):
        for column in range(0, s.mask.shape[1] - 39, 40):
            block = np.s_[row : row + 40, column : column + 40]
            known = s.held_out[block]
            values.append((s.mask == s.predicted)[block][known].mean() if known.any() else np.nan)
            polygons.append(box(*s.geobox[block].extent.boundingbox))
    return viz.plot_block_scores(values, polygons, s.crs, label="overall accuracy")


def plot_area_estimates(s: Scene) -> Axes:
    """Areas with intervals. What a stratified sample of 500 points says, beside the map's own pixel counts."""
    return viz.plot_area_estimates(assess(s).area_estimates(s.classes))


def plot_class_accuracies(s: Scene) -> Axes:
    """Accuracy with intervals. User's and producer's accuracy of each class, from the same sample."""
    return viz.plot_class_accuracies(assess(s), s.classes)


def animate_images(s: Scene) -> Path:
    """A time series. One stretch for all times, so that what becomes brighter is brighter."""
    seasons = {"2024-03": 0.75, "2024-05": 1.0, "2024-07": 1.15, "2024-09": 0.9}
    patch = s.image[:, 40:120, 60:140]
    images = np.stack(
        [patch * np.array([1, 1, 2 - green, green])[:, None, None] for green in seasons.values()]
    )
    valid = np.stack([s.valid[40:120, 60:140]] * len(seasons))
    path = IMAGES / "animate_images.gif"
    return viz.animate_images(images, path, list(seasons), valid=valid, bands=(3, 2, 1), dpi=64)


def add_scale_bar(s: Scene) -> Axes:
    """A map of your own. ``fit_map`` adds map units, a scale bar of true length and an arrow to true north."""
    figure = Figure(figsize=(5.0, 3.0), layout="constrained")
    ax = figure.add_subplot()
    ax.plot([4_300_000, 4_420_000, 4_480_000], [2_700_000, 2_780_000, 2_730_000], color="#146cb0")
    return viz.fit_map(ax, (4_250_000, 2_650_000, 4_550_000, 2_820_000), "EPSG:3035")


FIGURES: tuple[tuple[str, tuple[Callable[[Scene], Any], ...]], ...] = (
    ("Pixels", (show_image, show_mask, show_error, show_prediction, show_sample, show_batch, animate_images)),
    ("How good a map is", (plot_confusion_matrix, plot_confusion_matrix_many, plot_scores, plot_baselines, plot_roc,
                           plot_precision_recall, plot_reliability, plot_block_scores, plot_area_estimates,
                           plot_class_accuracies)),
    ("Data and training", (plot_history, plot_histograms, plot_normalisation, plot_class_histograms, plot_signatures,
                           plot_features, plot_class_balance)),
    ("Maps", (plot_areas, plot_footprints, add_scale_bar)),
)  # fmt: skip

_HEAD = """# Gallery

Every figure of `geotoolbox.visualization`, with the code that draws it. Made by `make docs` (docs/make_gallery.py); do not edit.

- Each function takes `ax` (those with several panels: `axes`) and returns what it drew into; without, it makes a figure of its own. No
  pyplot is needed: figures work in scripts, threads, notebooks (the last line of a cell is shown), the report and QGIS.
- `theme=viz.DARK` draws for a dark background, `viz.LIGHT` (the default) for a light one and for print.
- `viz.save_figure(ax, "figure.png")` writes PNG, SVG or PDF.
- Classes have the colours that the data give them. Where it gives none, neighbouring default colours stay apart for readers with deuteranopia
  and protanopia (`tests/visualization/test_colors.py` measures that); series also differ in dashes or marks.

All code below works with a small scene `s`: a piece of the demo scene's western image, its labels, and a map by a random forest that was
trained on the western half.

<details><summary>Imports, and how <code>s</code> is made</summary>

```python
{imports}


{scene}
```

</details>
"""


def body(function: Callable[..., Any]) -> str:
    """Return a function's code without its head and docstring."""
    lines = inspect.getsource(function).splitlines()
    start = next(i for i, line in enumerate(lines) if line.rstrip().endswith('"""')) + 1
    return textwrap.dedent("\n".join(lines[start:])).replace("return viz.", "viz.").replace("IMAGES / ", "")


def page() -> str:
    """Return the text of docs/gallery.md."""
    source = Path(__file__).read_text(encoding="utf-8")
    shown = re.compile(
        r"(from (geotoolbox|dataclasses|pathlib|numpy|odc|typing|shapely|sklearn|matplotlib\.figure)|import numpy).*"
    )
    imports = "\n".join(line for line in source.splitlines() if shown.fullmatch(line))
    scene = "\n\n\n".join(inspect.getsource(part).rstrip() for part in (Scene, load_scene, assess))
    parts = [_HEAD.format(imports=imports, scene=f'{scene}\n\n\ns = load_scene(Path("demo"))')]
    for heading, functions in FIGURES:
        parts.append(f"## {heading}\n")
        for function in functions:
            title, _, said = (function.__doc__ or "").partition(". ")
            parts.append(
                f"### {title}\n\n{said}\n\n![{title}: {said}](images/gallery/{picture_of(function).name})\n\n"
                f"```python\n{body(function)}\n```\n"
            )
    return "\n".join(parts)


def mark(function: Callable[..., Any]) -> str:
    """Return what changes when a figure may: a digest of all code that takes part in drawing it."""
    package = Path(viz.__file__).parents[1]
    sources = [
        *package.glob("visualization/*.py"),
        *package.glob("metrics/*.py"),
        *package.glob("jobs/demo_*.py"),
    ]
    sources = [path for path in sources if not path.name.startswith(PAGES)]
    found = hashlib.sha256(matplotlib.__version__.encode())
    for part in (Scene, load_scene, assess, save, function):
        found.update(inspect.getsource(part).encode())
    for path in sorted(sources):
        found.update(path.read_bytes())
    return f"drawn-by-{found.hexdigest()[:32]}"


def stamp(path: Path, text: str) -> None:
    """Put a comment into a GIF, so that the next run knows what drew it."""
    comment = b"\x21\xfe" + bytes([len(text)]) + text.encode() + b"\x00"
    path.write_bytes(path.read_bytes().removesuffix(b";") + comment + b";")


def save(figure: Figure, path: Path, text: str, dpi: int = 110) -> None:
    """Write a figure as a PNG of at most 256 colours, small enough to keep with the code."""
    info = PngInfo()
    info.add_text("Comment", text)
    width, height = figure.get_size_inches()
    drawn = viz.to_png(figure, dpi=int(min(dpi, LONGEST_PX / max(width, height))))
    with Image.open(io.BytesIO(drawn)) as picture:
        small = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(path, optimize=True, pnginfo=info)


def picture_of(function: Callable[..., Any]) -> Path:
    """Return where a figure is kept."""
    return IMAGES / f"{function.__name__}.{'gif' if function is animate_images else 'png'}"


def is_current(function: Callable[..., Any]) -> bool:
    """Tell whether a figure was drawn by the code that is here."""
    path = picture_of(function)
    return path.exists() and mark(function).encode() in path.read_bytes()


def draw(function: Callable[..., Any], scene: Scene) -> None:
    """Draw one figure and note what drew it."""
    drawn = function(scene)
    if isinstance(drawn, Path):
        stamp(drawn, mark(function))
    else:
        save(viz.figure_of(drawn), picture_of(function), mark(function))


def main() -> None:
    """Draw the figures whose code is not the code that drew them last, and write the page."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    due = [f for _, functions in FIGURES for f in functions if not is_current(f)]
    if due:
        with tempfile.TemporaryDirectory() as folder:
            scene = load_scene(Path(folder))
            for function in due:
                draw(function, scene)
                sys.stderr.write(f"{function.__name__}\n")
    (FOLDER / "gallery.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
