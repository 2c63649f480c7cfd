"""What a card of kind spectral must say: the bands and classes the rules know."""

from geoseg.errors import ModelError, printable
from geoseg.models.card import ModelCard

__all__ = ["OPTIONAL", "REQUIRED", "SPECTRAL_CLASSES", "check_spectral_card"]

REQUIRED = ("blue", "green", "red", "nir")
"""Bands without which there are no rules."""
OPTIONAL = ("swir16", "swir22")
"""Bands that tell snow, bare and built apart."""
SPECTRAL_CLASSES = (
    "water",
    "dense vegetation",
    "sparse vegetation",
    "bare",
    "built",
    "snow",
    "shadow",
    "non-vegetated",
)
"""In the order of the outputs; a card may call them otherwise but not add or drop one."""


def check_spectral_card(card: ModelCard, source: str) -> None:
    """Refuse a card of kind spectral that the rules cannot serve.

    Raises:
        ModelError: Naming the bands or the number of classes that do not fit.
    """
    names = [band.name for band in card.bands]
    missing = [name for name in REQUIRED if name not in names]
    unknown = [name for name in names if name not in REQUIRED + OPTIONAL]
    if missing or unknown:
        wrong = f"lacks {', '.join(missing)}" if missing else f"has {printable(', '.join(unknown))}"
        raise ModelError(
            f"cannot use the card {printable(source)}: kind spectral needs the bands {', '.join(REQUIRED)}, "
            f"may have {', '.join(OPTIONAL)}, and no other; it {wrong}"
        )
    if len(card.classes) != len(SPECTRAL_CLASSES):
        raise ModelError(
            f"cannot use the card {printable(source)}: kind spectral gives {len(SPECTRAL_CLASSES)} classes "
            f"({', '.join(SPECTRAL_CLASSES)}), the card has {len(card.classes)}"
        )
