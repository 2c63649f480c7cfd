"""What a model expects, how it is loaded, and the networks that are built from it."""

from geoseg.models.card import Architecture, CardBand, CardClass, ModelCard, card_from_yaml, card_schema
from geoseg.models.kmeans import Centres, fit_centres
from geoseg.models.load import Model, ModelInfo, build_network, list_models, load_model

__all__ = [
    "Architecture",
    "CardBand",
    "CardClass",
    "Centres",
    "Model",
    "ModelCard",
    "ModelInfo",
    "build_network",
    "card_from_yaml",
    "card_schema",
    "fit_centres",
    "list_models",
    "load_model",
]
