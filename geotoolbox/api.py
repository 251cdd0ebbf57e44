"""The Python door: train, predict and evaluate in about ten lines.

The same specs and functions as the jobs stand behind it, so the same settings give the same pixels.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from geotoolbox.core.events import SILENT, Reporter
from geotoolbox.core.query import Region
from geotoolbox.datasets import GeoDataset, RasterDataset
from geotoolbox.jobs.predict import PredictSettings
from geotoolbox.jobs.train import TrainSettings

if TYPE_CHECKING:
    from geotoolbox.core.classes import ClassTable
    from geotoolbox.jobs.evaluating import Evaluation
    from geotoolbox.jobs.training import Training
    from geotoolbox.metrics import Scores
    from geotoolbox.models.bundle import Bundle
    from geotoolbox.prediction import PredictionResult
    from geotoolbox.sampling import SampleList

__all__ = ["Model", "Prediction", "evaluate", "load_model", "train"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """A map that has been written.

    Attributes:
        path: The class map.
        classes: Its classes.
        result: What else is known: all files, areas of classes, seam ratio, tiles that failed.
    """

    path: Path
    classes: ClassTable
    result: PredictionResult

    def _repr_html_(self) -> str:
        from geotoolbox.core.reprs import prediction_html

        return prediction_html(self)

    def dataset(self) -> RasterDataset:
        """Open the map as a layer of labels."""
        return RasterDataset([str(self.path)], kind="labels", classes=self.classes)


@dataclass(frozen=True, slots=True)
class Model:
    """A trained model.

    Attributes:
        bundle: The network's weights and all that is needed to use them.
        training: How it was trained; None for a model that was loaded.
    """

    bundle: Bundle
    training: Training | None = None

    def _repr_html_(self) -> str:
        return self.bundle._repr_html_()

    @property
    def classes(self) -> ClassTable:
        """The classes it tells apart."""
        return self.bundle.classes

    @property
    def scores(self) -> Scores | None:
        """The scores on the held-out blocks; None for a model that was loaded."""
        return None if self.training is None else self.training.scores

    def report(self, path: str | Path) -> Path:
        """Write the training report (HTML) and return its path.

        Raises:
            BadInput: When the model was loaded from a bundle without a report.
        """
        from geotoolbox.errors import BadInput, explain
        from geotoolbox.jobs.evaluating import write_text

        html = self.training.report(Path(path).stem) if self.training else self.bundle.report_html
        if html is None:
            raise BadInput(explain("this bundle holds no report", fix="train with this version"))
        return write_text(Path(path), html)

    def save(self, path: str | Path) -> Path:
        """Write the bundle, with its report inside, and return its path."""
        if self.training is None:
            return self.bundle.save(path)
        return replace(self.bundle, report_html=self.training.report(Path(path).stem)).save(path)

    def predict(
        self,
        images: GeoDataset,
        output: str | Path,
        *,
        settings: PredictSettings | None = None,
        region: Region | None = None,
        events: Reporter = SILENT,
    ) -> Prediction:
        """Predict a map.

        Args:
            images: Images with the model's bands.
            output: The class map to write (a COG).
            settings: What else to write, and how.
            region: Predict only inside this area.
            events: Hears of the progress, and can cancel.

        Raises:
            BandMismatch: When the images do not have the model's bands.
        """
        from geotoolbox.jobs.predicting import predict_map

        result = predict_map(
            self.bundle, images, Path(output), settings or PredictSettings(), region=region, reporter=events
        )
        return Prediction(Path(output), self.bundle.classes, result)


def train(
    dataset: GeoDataset,
    *,
    validation: GeoDataset | None = None,
    settings: TrainSettings | None = None,
    maximum_minutes: float | None = None,
    epochs: int | None = None,
    indices: tuple[str, ...] | None = None,
    seed: int | None = None,
    samples: SampleList | None = None,
    work_dir: str | Path | None = None,
    events: Reporter = SILENT,
) -> Model:
    """Train a model on a dataset of images and labels.

    Args:
        dataset: Images with labels: ``images & labels``.
        validation: What to judge on; default: blocks of ``dataset`` that are held out.
        settings: Everything that the command line's ``train`` can set.
        maximum_minutes: As in ``settings``, for short.
        epochs: As in ``settings``, for short.
        indices: As in ``settings``, for short.
        seed: As in ``settings``, for short.
        samples: The windows to train on, such as a SampleBrowser's ``samples``; default: at random.
        work_dir: Where checkpoints go, to resume a stopped run; default: a temporary folder.
        events: Hears of the progress, and can cancel.

    Raises:
        BadInput: When the data cannot be trained on, in words, before training starts.
    """
    from geotoolbox.jobs.training import fit

    short = {"maximum_minutes": maximum_minutes, "epochs": epochs, "indices": indices, "seed": seed}
    given = {name: value for name, value in short.items() if value is not None}
    chosen = TrainSettings.model_validate((settings or TrainSettings()).model_dump() | given)
    if work_dir is not None:
        training = fit(
            dataset, chosen, Path(work_dir), validation=validation, reporter=events, samples=samples
        )
    else:
        with tempfile.TemporaryDirectory(prefix="geotoolbox-") as folder:
            training = fit(
                dataset, chosen, Path(folder), validation=validation, reporter=events, samples=samples
            )
    return Model(training.result.bundle, training)


def load_model(path: str | Path) -> Model:
    """Load a bundle; nothing in it is executed.

    Raises:
        BadBundle: When the file is damaged, newer than this version, or no bundle.
    """
    from geotoolbox.models.bundle import load_bundle

    return Model(load_bundle(path))


def evaluate(
    prediction: Prediction | GeoDataset | str | Path,
    reference: GeoDataset,
    *,
    region: Region | None = None,
    events: Reporter = SILENT,
) -> Evaluation:
    """Compare a map with a reference, on the map's own grid.

    Args:
        prediction: A prediction, a map's path, or a layer of labels.
        reference: The truth: a layer of labels of any CRS and resolution.
        region: Compare only inside this area.
        events: Hears of the progress, and can cancel.

    Raises:
        NoOverlap: When not one pixel has both a map class and a reference class.
    """
    from geotoolbox.jobs.evaluating import compare

    if isinstance(prediction, Prediction):
        layer: GeoDataset = prediction.dataset()
    elif isinstance(prediction, GeoDataset):
        layer = prediction
    else:
        layer = RasterDataset([str(prediction)], kind="labels")
    return compare(layer, reference, region=region, reporter=events)
