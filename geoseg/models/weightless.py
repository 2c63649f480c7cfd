"""Networks without weights, from models of rules and of centres.

Apart from the networks with weights, whose libraries of architectures take longer to import than a small scene takes
to be segmented.
"""

from torch import nn

from geoseg.errors import ModelError
from geoseg.models.load import Model
from geoseg.models.nearest import NearestCentre
from geoseg.models.spectral import SpectralRules

__all__ = ["kmeans_network", "spectral_network"]


def spectral_network(model: Model) -> nn.Module:
    """The rules on spectral indices, for the bands that there are."""
    return SpectralRules(model.bands)


def kmeans_network(model: Model) -> nn.Module:
    """Distances to the centres of a fitted model.

    Raises:
        ModelError: If it was not fitted.
    """
    if model.centres is None or model.spread is None:
        raise ModelError("kmeans has no centres yet: fit it to samples of the scene first")
    return NearestCentre(model.centres, model.spread)
