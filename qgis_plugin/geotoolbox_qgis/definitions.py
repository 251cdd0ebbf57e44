"""What each algorithm is: which jobs it runs, which of their settings are layers and which are files.

Everything else about a setting (its kind, limits, default and help) comes from ``jobs.json``; a setting that is not
named here becomes an advanced parameter by itself. The ids and parameter names are API: never renamed.
Standard library only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Tuple

from .definition import Definition, LayerInput, Output, Step

__all__ = ["ALGORITHMS"]

# What the plugin knows by itself from a layer.
_FROM_LAYER = ("allow_vrt", "allow_remote", "label_layer", "label_filter", "class_style", "reference_layer")

_IMAGES = LayerInput(
    "INPUT",
    "rasters",
    "images",
    "Images",
    help="One or more raster layers: bands in one layer, or one layer a band. They may differ in CRS and pixel size; "
    "nothing needs to be aligned first.",
)
_LABELS = LayerInput(
    "LABELS",
    "vector",
    "labels",
    "Label polygons",
    optional=True,
    column="label_column",
    layer_field="label_layer",
    help="Polygons with a column that names the class. Selected features only, filters and unsaved edits are respected. "
    "Give this or a label raster.",
)
_LABEL_RASTER = LayerInput(
    "LABEL_RASTER",
    "raster",
    "labels",
    "Label raster",
    optional=True,
    help="A raster of classes, in any CRS and pixel size. Give this or label polygons.",
)
_AREA = LayerInput("AREA", "polygons", "area", "Area", optional=True)

_INSPECT = Definition(
    "inspectlayers",
    "Inspect layers",
    "prepare",
    "Says what layers hold and how they would be read together: size, bands, CRS, classes, and what does not fit.",
    (Step("inspect", (LayerInput("INPUT", "layers", "files", "Layers"),), hidden=_FROM_LAYER),),
    ("describe", "metadata", "check"),
    "INPUT=image.tif INPUT=labels.gpkg",
)
_INDICES = Definition(
    "computeindices",
    "Compute spectral indices",
    "prepare",
    "Computes NDVI and other spectral indices, or your own expression of bands, block by block.",
    (
        Step(
            "indices",
            (_IMAGES,),
            (Output("OUTPUT", "raster", "output", "Indices"),),
            basic=("indices",),
            hidden=_FROM_LAYER,
        ),
    ),
    ("ndvi", "evi", "ndwi", "savi"),
    "INPUT=image.tif INDICES=ndvi OUTPUT=ndvi.tif",
)
_RASTERIZE = Definition(
    "rasterizelabels",
    "Rasterize labels",
    "prepare",
    "Burns label polygons onto the grid of an image, as a class raster with names and colours.",
    (
        Step(
            "rasterize",
            (
                LayerInput(
                    "LABELS",
                    "vector",
                    "labels",
                    "Label polygons",
                    column="label_column",
                    layer_field="label_layer",
                ),
                LayerInput("LIKE", "raster", "like", "Image whose grid is used"),
            ),
            (Output("OUTPUT", "raster", "output", "Class raster"),),
            basic=("unlabelled",),
            hidden=_FROM_LAYER,
        ),
    ),
    ("burn", "mask"),
    "LABELS=labels.gpkg FIELD=class LIKE=image.tif OUTPUT=labels.tif",
)
_CHIPS = Definition(
    "exportchips",
    "Export chips",
    "prepare",
    "Exports patches of images (and label masks) for other tools, at random places or on a grid, with their footprints.",
    (
        Step(
            "sample",
            (_IMAGES, replace(_LABELS, layer_field=""), _LABEL_RASTER, _AREA),
            (Output("OUTPUT", "folder", "output", "Folder of chips"),),
            basic=("method", "size_px", "count", "overlap_px"),
            hidden=_FROM_LAYER,
        ),
    ),
    ("patches", "tiles", "export", "training data"),
    "INPUT=image.tif LABELS=labels.gpkg FIELD=class SIZE_PX=256 METHOD=grid OUTPUT=chips FOOTPRINTS=footprints.gpkg",
)

_MODEL_OUTPUT = Output(
    "OUTPUT_MODEL", "file", "output", "Trained model", filter="GeoToolbox model (*.gtb)", result="model"
)
_TRAIN_REPORT = Output("REPORT", "html", "report", "Training report", optional=True, result="report")
_TRAIN_BASIC = ("maximum_minutes", "model", "validation_percent", "unlabelled", "seed")
_MAPS = (
    Output("OUTPUT", "raster", "output", "Class map", result="map"),
    Output("POLYGONS", "vector", "polygons", "Polygons", optional=True),
    Output("CONFIDENCE", "raster", "confidence", "Confidence", optional=True),
    Output("PROBABILITIES", "raster", "probabilities", "Probability of each class", optional=True),
    Output("ENTROPY", "raster", "entropy", "Entropy", optional=True),
)

_TRAIN = Definition(
    "trainsegmentation",
    "Train a segmentation model",
    "segmentation",
    "Trains a network on images and labels, judges it on ground that was held out, and writes a report.",
    (
        Step(
            "train",
            (_IMAGES, _LABELS, _LABEL_RASTER, _AREA),
            (_MODEL_OUTPUT, _TRAIN_REPORT),
            basic=_TRAIN_BASIC,
            hidden=_FROM_LAYER,
        ),
    ),
    ("deep learning", "u-net", "classification", "land cover", "machine learning"),
    "INPUT=image.tif LABELS=labels.gpkg FIELD=class MAXIMUM_MINUTES=5 OUTPUT_MODEL=model.gtb",
)
_PREDICT = Definition(
    "predictsegmentation",
    "Predict with a segmentation model",
    "segmentation",
    "Makes a class map of any size with a trained model, and polygons, confidence and probabilities where wanted.",
    (
        Step(
            "predict",
            (_IMAGES, _AREA),
            _MAPS,
            basic=("model", "minimum_area_m2", "simplify_m"),
            hidden=_FROM_LAYER,
        ),
    ),
    ("deep learning", "inference", "classification", "land cover"),
    "MODEL=model.gtb INPUT=image.tif OUTPUT=map.tif POLYGONS=map.gpkg",
)
_BOTH = Definition(
    "trainandpredict",
    "Train and predict",
    "segmentation",
    "Trains a model and maps all of the images with it, in one go: for the first five minutes.",
    (
        Step(
            "train",
            (_IMAGES, _LABELS, _LABEL_RASTER, _AREA),
            (_MODEL_OUTPUT, _TRAIN_REPORT),
            basic=("maximum_minutes", "unlabelled", "seed"),
            hidden=_FROM_LAYER,
            weight=3.0,
        ),
        Step(
            "predict",
            (_IMAGES,),
            _MAPS,
            basic=("minimum_area_m2", "simplify_m"),
            hidden=(
                *_FROM_LAYER,
                "area", "batch_size", "augment", "strict", "resume", "crs", "overlap_px",
                "threads", "executor", "scheduler", "workers", "shard", "finish",
            ),
            given={"model": "OUTPUT_MODEL", "device": "DEVICE", "bands": "BANDS"},
        ),
    ),
    ("deep learning", "classification", "land cover"),
    "INPUT=image.tif LABELS=labels.gpkg FIELD=class OUTPUT_MODEL=model.gtb OUTPUT=map.tif",
)  # fmt: skip
_POLYGONIZE = Definition(
    "polygonizeprediction",
    "Polygonize a prediction",
    "segmentation",
    "Turns a class map into polygons with class, area and confidence; shared borders stay shared.",
    (
        Step(
            "polygonise",
            (
                LayerInput("INPUT", "raster", "map", "Class map"),
                LayerInput("CONFIDENCE", "raster", "confidence", "Confidence raster", optional=True),
            ),
            (Output("OUTPUT", "vector", "output", "Polygons"),),
            basic=("minimum_area_m2", "simplify_m"),
            hidden=_FROM_LAYER,
        ),
    ),
    ("vectorize", "vectorise"),
    "INPUT=map.tif MINIMUM_AREA_M2=1000 OUTPUT=map.gpkg",
)
_EVALUATE = Definition(
    "evaluatesegmentation",
    "Evaluate a class map",
    "evaluation",
    "Compares a class map with a reference: confusion matrix, accuracy and IoU of each class, and a report.",
    (
        Step(
            "evaluate",
            (
                LayerInput("INPUT", "raster", "map", "Class map"),
                LayerInput(
                    "REFERENCE", "vector", "reference", "Reference polygons", optional=True, column="label_column",
                    layer_field="label_layer", help="The truth as polygons with a class column. Give this or a raster.",
                ),
                LayerInput(
                    "REFERENCE_RASTER", "raster", "reference", "Reference raster", optional=True,
                    help="The truth as a raster of classes, in any CRS and pixel size. Give this or polygons.",
                ),
                _AREA,
                LayerInput("IMAGES", "rasters", "images", "Images for the report", optional=True),
                LayerInput("PROBABILITIES", "raster", "probabilities", "Probabilities of the map", optional=True),
                LayerInput("REGIONS", "polygons", "regions", "Regions to score one by one", optional=True),
            ),
            (
                Output("REPORT", "html", "report", "Report"),
                Output("METRICS", "file", "metrics", "Numbers", optional=True, filter="JSON (*.json)"),
                Output("ERRORS", "raster", "errors", "Error map", optional=True),
            ),
            hidden=_FROM_LAYER,
        ),
    ),
    ("accuracy", "confusion matrix", "iou", "validation"),
    "INPUT=map.tif REFERENCE=truth.gpkg FIELD=class REPORT=report.html METRICS=metrics.json",
)  # fmt: skip
_SAMPLE = Definition(
    "samplereference",
    "Sample reference points",
    "evaluation",
    "Draws a probability sample of points to label, stratified by map class: what an honest accuracy and honest areas "
    "take.",
    (
        Step(
            "sample-reference",
            (
                LayerInput("INPUT", "raster", "map", "Class map"),
                LayerInput("STRATA", "raster", "strata", "Strata, if not the map's classes", optional=True),
                _AREA,
            ),
            (Output("OUTPUT", "vector", "output", "Points to label"),),
            basic=("points", "design", "seed"),
            hidden=_FROM_LAYER,
            titles={"points": "Points in all", "minimum_points": "Points in each class at least"},
        ),
    ),
    ("stratified sampling", "validation", "olofsson"),
    "INPUT=map.tif POINTS=200 OUTPUT=reference.gpkg",
)
_ACCURACY = Definition(
    "accuracyreport",
    "Accuracy report from labelled points",
    "evaluation",
    "Estimates accuracy and the area of each class, with confidence intervals, from the points that were labelled.",
    (
        Step(
            "accuracy",
            (
                LayerInput("INPUT", "raster", "map", "Class map"),
                LayerInput(
                    "SAMPLE", "points", "sample", "Labelled points", column="reference_column",
                    layer_field="sample_layer", help="The points of 'Sample reference points', with the true class filled in.",
                ),
                LayerInput("DRAWN", "points", "drawn", "Points as they were drawn", optional=True),
                _AREA,
            ),
            (
                Output("REPORT", "html", "report", "Report"),
                Output("METRICS", "file", "metrics", "Numbers", optional=True, filter="JSON (*.json)"),
            ),
            basic=("unlabelled", "confidence_percent"),
            hidden=_FROM_LAYER,
            titles={"unlabelled": "Points without a class", "confidence_percent": "Level of the intervals"},
        ),
    ),
    ("olofsson", "confidence interval", "area estimation", "validation"),
    "INPUT=map.tif SAMPLE=reference.gpkg FIELD=reference REPORT=accuracy.html METRICS=accuracy.json",
)  # fmt: skip

_CROSSVALIDATE = Definition(
    "crossvalidatesegmentation",
    "Cross-validate by space",
    "evaluation",
    "Says how well a model does on ground that it has not seen, fold by fold, and how much random folds would flatter.",
    (
        Step(
            "crossvalidate",
            (
                _IMAGES,
                _LABELS,
                _LABEL_RASTER,
                _AREA,
                LayerInput(
                    "REGIONS", "polygons", "regions", "Regions to leave out one by one", optional=True
                ),
                LayerInput(
                    "PREDICT_AREA", "polygons", "predict_area", "Where the map will be made", optional=True
                ),
            ),
            (
                Output("METRICS", "file", "output", "Numbers", filter="JSON (*.json)"),
                Output("FOLDS_OUTPUT", "vector", "folds_output", "Test areas of the folds", optional=True),
            ),
            basic=("method", "folds", "model", "unlabelled", "seed"),
            hidden=_FROM_LAYER,
            titles={"method": "What is left out", "folds": "Rounds", "model": "What is judged"},
        ),
    ),
    ("cross validation", "spatial blocks", "knndm", "transfer"),
    "INPUT=image.tif LABELS=labels.gpkg FIELD=class METRICS=folds.json",
)
_APPLICABILITY = Definition(
    "applicability",
    "Area of applicability",
    "evaluation",
    "Shows where images resemble what a model was trained on; elsewhere its scores say nothing.",
    (
        Step(
            "applicability",
            (_IMAGES, _AREA),
            (
                Output("OUTPUT", "raster", "output", "Dissimilarity"),
                Output("INSIDE", "raster", "inside", "Where the model is applicable", optional=True),
            ),
            basic=("model",),
            hidden=_FROM_LAYER,
        ),
    ),
    ("dissimilarity", "extrapolation", "uncertainty"),
    "MODEL=model.gtb INPUT=image.tif OUTPUT=dissimilarity.tif INSIDE=applicable.tif",
)

_SCENE = Definition(
    "demoscene",
    "Make the demo scene",
    "setup",
    "Makes layers to try everything on, and opens them: two images, label polygons, a label raster, the areas to train "
    "and to test in. Nothing is downloaded; the land is made up.",
    (
        Step(
            "demo-scene",
            outputs=(Output("OUTPUT", "folder", "output", "Folder of the scene"),),
            basic=("size_px",),
        ),
    ),
    ("example", "sample data", "tutorial"),
    "SIZE_PX=600 OUTPUT=demo",
)

ALGORITHMS: Tuple[Definition, ...] = (
    _SCENE,
    _INSPECT,
    _INDICES,
    _RASTERIZE,
    _CHIPS,
    _TRAIN,
    _PREDICT,
    _BOTH,
    _POLYGONIZE,
    _EVALUATE,
    _SAMPLE,
    _ACCURACY,
    _CROSSVALIDATE,
    _APPLICABILITY,
)
"""All algorithms that run jobs; those that make and check the engine stand in ``setup_algorithms``."""
