"""Networks, and the bundle that a trained network is kept in."""

from geotoolbox.models.bundle import Bundle, load_bundle, save_bundle
from geotoolbox.models.factory import ModelSpec, create_model, list_architectures
from geotoolbox.models.predictor import Predictor

__all__ = [
    "Bundle",
    "ModelSpec",
    "Predictor",
    "create_model",
    "list_architectures",
    "load_bundle",
    "save_bundle",
]
