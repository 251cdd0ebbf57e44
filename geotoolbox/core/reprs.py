"""How datasets, samples, splits, models and results show themselves in a notebook (``_repr_html_``).

The functions take what they show as it is; each stays below 20 kB, however many files there are.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from geotoolbox.core.classes import DEFAULT_COLORS
from geotoolbox.core.html import bars, card, chip, facts, outlines, rows, section

__all__ = [
    "bundle_html",
    "dataset_html",
    "evaluation_html",
    "prediction_html",
    "result_html",
    "sample_html",
    "samples_html",
    "split_html",
]

_MOST_FILES = 10
_PART_COLORS = {"train": (0, 114, 178), "val": (230, 159, 0), "test": (0, 158, 115)}


def dataset_html(dataset: Any) -> str:
    """Show a dataset: bands, classes, scenes, files, and where it has data."""
    scenes, files = dataset.scenes(), dataset.source_files()
    kind = {"image": "images", "labels": "labels", "both": "images & labels"}[dataset.kind]
    parts = []
    if dataset.bands:
        lines = [
            [b.name, "" if b.wavelength_um is None else f"{b.wavelength_um:g} µm", b.description]
            for b in dataset.bands
        ]
        names = ", ".join(b.name for b in dataset.bands[:8])
        body = rows(["name", "wavelength", "description"], lines)
        parts.append(section("Bands", f"{len(dataset.bands)}: {names}", body))
    if dataset.classes is not None:
        parts.append(_classes(dataset.classes))
    lines = [
        [
            s.name,
            f"{s.geobox.shape[1]:,} × {s.geobox.shape[0]:,}",
            _crs(s.geobox.crs),
            _resolution(s),
            _time(s.time),
        ]
        for s in scenes[:_MOST_FILES]
    ]
    lines += [[""] * 5] * (len(scenes) - len(lines))
    heads = ["scene", "pixels", "CRS", "pixel size", "time"]
    parts.append(section("Scenes", str(len(scenes)), rows(heads, lines, most=_MOST_FILES), unfolded=True))
    coverage = [(shape, _PART_COLORS["train"], "data") for shape, _ in dataset.coverage()[:200]]
    parts.append(outlines(coverage, label=f"where the {kind} have data"))
    parts.append(section("Files", f"{len(files):,}", rows(["path"], [[f] for f in files], most=_MOST_FILES)))
    return card(type(dataset).__name__, kind, parts)


def sample_html(sample: Mapping[str, Any]) -> str:
    """Show a sample: shape, type and range of each array, and its grid."""
    lines, grid = [], {}
    for name, value in sample.items():
        shape = getattr(value, "shape", None)
        if shape is not None and len(shape) >= 2:
            low, high = (
                (float(v) for v in (value.min(), value.max())) if value.numel() else (float("nan"),) * 2
            )
            lines.append(
                [name, " × ".join(map(str, shape)), str(value.dtype).removeprefix("torch."), _span(low, high)]
            )
        elif shape is not None:
            grid[name] = ", ".join(f"{float(v):.10g}" for v in value)
        else:
            grid[name] = str(value)[:80]
    table = rows(["", "shape", "type", "range"], lines)
    valid = sample.get("valid")
    share = f"{100 * float(valid.float().mean()):.0f} % valid" if valid is not None else ""
    return card("Sample", share, [table, section("Grid", grid.get("crs", ""), facts(grid))])


def split_html(split: Any) -> str:
    """Show a split: its parts, and where they are."""
    shapes, lines = [], []
    for position, (name, part) in enumerate(split.datasets.items()):
        color = _PART_COLORS.get(name, DEFAULT_COLORS[position % len(DEFAULT_COLORS)])
        pieces = [shape for shape, _ in part.coverage()]
        shapes += [(shape, color, name) for shape in pieces]
        count = sum(len(getattr(p, "geoms", [p])) for p in pieces)
        lines.append(
            [(chip(color) + html.escape(name),), len(part.scenes()), f"{count:,}", f"{_km2(pieces):,.1f} km²"]
        )
    table = rows(["part", "scenes", "pieces", "area"], lines, numbers=(1, 2, 3))
    picture = outlines(shapes, label="where the parts of the split are", longest_px=260)
    gap = f"{split.buffer_m:,.0f} m apart" if split.buffer_m else "no buffer"
    return card(
        "Split", f"{len(split.datasets)} parts, {gap}", [f'<div class="gt-two">{table}{picture}</div>']
    )


def samples_html(frame: Any, count: int) -> str:
    """Show a list of samples by its table: sizes, and where the windows are."""
    sizes = sorted({(int(r.width), int(r.height)) for r in frame[["width", "height"]].itertuples()})
    said = ", ".join(f"{w} × {h} px" for w, h in sizes[:4]) + (" …" if len(sizes) > 4 else "")
    shapes = [(shape, _PART_COLORS["train"], f"sample {i}") for i, shape in enumerate(frame.geometry[:150])]
    known = {"size": said, "CRS": ", ".join(sorted({_crs(c) for c in frame["crs"]})[:4])}
    picture = outlines(shapes, label=f"where {count} samples lie")
    return card("SampleList", f"{count:,} samples", [facts(known), picture])


def bundle_html(bundle: Any) -> str:
    """Show a trained model: network, bands, classes, scores on held-out ground, and where it was trained."""
    spec, metrics = bundle.spec, bundle.metrics
    weights = sum(v.numel() for v in bundle.state.values())
    known = {
        "network": spec.architecture + (f", {spec.encoder}" if spec.encoder else ""),
        "parameters": f"{weights:,}",
        "bands": ", ".join(b.name for b in bundle.bands),
        "pixel size": None if bundle.resolution_m is None else f"{bundle.resolution_m:g} m",
        "overall accuracy": _share(metrics.get("validation_overall_accuracy"), "on held-out blocks"),
        "mean IoU": _share(metrics.get("validation_mean_iou"), "on held-out blocks"),
        "epochs": len(bundle.history) or None,
        "made": bundle.created,
    }
    parts = [facts(known)]
    iou = metrics.get("validation_iou") or {}
    if iou:
        values = [float("nan") if iou.get(n) is None else float(iou[n]) for n in bundle.classes.names]
        body = bars(bundle.classes.names, values, bundle.classes.colors)
        parts.append(section("IoU of each class", f"{len(bundle.classes)} classes", body, unfolded=True))
    else:
        parts.append(_classes(bundle.classes))
    if bundle.baseline:
        lines = [
            [b.get("name", ""), _share(b.get("overall_accuracy")), _share(b.get("mean_iou"))]
            for b in bundle.baseline
        ]
        table = rows(["on the same pixels", "overall accuracy", "mean IoU"], lines, numbers=(1, 2))
        parts.append(section("Baselines", str(len(lines)), table))
    if bundle.training_area:
        from shapely.geometry import shape

        area = [(shape(bundle.training_area), _PART_COLORS["train"], "training area")]
        parts.append(
            section("Trained on", f"{len(bundle.sources)} files", outlines(area, label="the training area"))
        )
    parts.append(section("Versions", "", facts(bundle.versions)))
    return card("Bundle", bundle.task, parts)


def result_html(result: Any) -> str:
    """Show what a job gave back: its numbers, and the files it wrote."""
    values = result.to_json()
    parts = [
        facts({_words(k): _plain(v) for k, v in values.items() if not isinstance(v, dict | list | tuple)})
    ]
    for name, value in values.items():
        if isinstance(value, list | tuple) and value:
            lines = [[str(v)[:200]] for v in value]
            parts.append(section(_words(name), str(len(value)), rows([""], lines), unfolded=len(value) <= 6))
        elif isinstance(value, dict) and value:
            parts.append(section(_words(name), f"{len(value)}", _nested(value)))
    return card(type(result).__name__.removesuffix("Result"), "", parts)


def prediction_html(prediction: Any) -> str:
    """Show a map that was written: the area of each class, and its files."""
    result, classes = prediction.result, prediction.classes
    hectares = [result.class_areas_m2.get(name, 0.0) / 10_000 for name in classes.names]
    areas = bars(classes.names, hectares, classes.colors, unit=" ha")
    known = {
        "file": prediction.path,
        "seam ratio": f"{result.seam_ratio:.3f} (1 is seamless)",
        "pixels without data": f"{result.invalid_pixels:,}",
        "failed tiles": len(result.failed) or None,
        "time": f"{result.seconds:,.0f} s",
    }
    files = rows(["what", "file"], [[name, str(path)] for name, path in result.paths.items()])
    parts = [facts(known), section("Areas as mapped", f"{len(classes)} classes", areas, unfolded=True)]
    return card(prediction.path.name, "class map", [*parts, section("Files", str(len(result.paths)), files)])


def evaluation_html(title: str, scores: Any, classes: Any, held_out: bool | None) -> str:
    """Show how well a map agrees with a reference."""
    where = {True: "held-out ground", False: "partly trained on", None: ""}[held_out]
    known = {
        "overall accuracy": _share(scores.overall_accuracy),
        "mean IoU": _share(scores.mean_iou),
        "pixels compared": f"{scores.pixels:,}",
    }
    order = sorted(range(len(classes)), key=lambda i: -scores.support[i])
    lines = [
        [(chip(classes.colors[i]) + html.escape(classes.names[i]),), *(_share(getattr(scores, k)[i]) for k in
         ("precision", "recall", "f1", "iou")), f"{scores.support[i]:,}"]
        for i in order
    ]  # fmt: skip
    heads = ["class", "precision", "recall", "F1", "IoU", "reference px"]
    table = rows(heads, lines, numbers=(1, 2, 3, 4, 5), most=30)
    return card(
        title, where, [facts(known), section("Class by class", str(len(classes)), table, unfolded=True)]
    )


def _classes(classes: Any) -> str:
    lines = [
        [(chip(color) + html.escape(c.name),), c.value]
        for c, color in zip(classes, classes.colors, strict=True)
    ]
    names = ", ".join(classes.names[:5]) + (" …" if len(classes) > 5 else "")
    return section(
        "Classes", f"{len(classes)}: {names}", rows(["name", "value"], lines, numbers=(1,), most=30)
    )


def _crs(crs: Any) -> str:
    from pyproj import CRS

    found = CRS.from_user_input(str(crs))
    code = found.to_authority(min_confidence=100)
    return ":".join(code) if code else found.name


def _resolution(scene: Any) -> str:
    grid = scene.geobox.affine
    unit = "°" if scene.geobox.crs is not None and scene.geobox.crs.geographic else " m"
    return f"{(grid.a**2 + grid.d**2) ** 0.5:.6g}{unit}"


def _time(time: Any) -> str:
    days = [m.date().isoformat() for m in (time.start, time.end) if m is not None]
    return " … ".join(dict.fromkeys(days))


def _km2(shapes: Sequence[Any]) -> float:
    from pyproj import Geod

    return sum(abs(Geod(ellps="WGS84").geometry_area_perimeter(s)[0]) for s in shapes) / 1e6


def _share(value: Any, where: str = "") -> str | None:
    if value is None:
        return None
    number = float(value)
    text = "n/a" if math.isnan(number) else f"{number:.3f}"
    return f"{text} {where}".strip()


def _span(low: float, high: float) -> str:
    return f"{low:.6g} … {high:.6g}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    text = str(value)
    return text if len(text) <= 300 else text[:299] + "…"


def _nested(values: Mapping[str, Any]) -> str:
    flat = {k: (", ".join(f"{a} {_plain(b)}" for a, b in list(v.items())[:6]) if isinstance(v, dict) else _plain(v))
            for k, v in list(values.items())[:30]}  # fmt: skip
    return facts({str(k): v for k, v in flat.items()})
