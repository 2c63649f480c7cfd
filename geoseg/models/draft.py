"""A card to be completed: what a model file says, and what its owner has to add."""

from pathlib import Path

import yaml

from geoseg.errors import ModelError, printable
from geoseg.models.card import PLACEHOLDER, card_from_content
from geoseg.models.load import describe_model

__all__ = ["draft_card"]


def draft_card(source: Path) -> str:
    """YAML of a card, with ``FILL IN`` where the file says nothing of a value: it is refused until that is done.

    Args:
        source: A model file or folder without a card.

    Raises:
        ModelError: If it describes no model, or the card would have to lie elsewhere.
    """
    found = describe_model(source, str(source))
    if found.bundle is not None:
        raise ModelError(f"{printable(source)} is a bundle, which has its card inside: geoseg models show prints it")
    content = dict(found.content)
    if not found.unknown:
        return card_from_content(content, source=source).to_yaml()
    unknown = set(found.unknown)
    if "band names, mean and std" in unknown or "bands" in unknown:
        listed = content.get("bands") or [{}]
        content["bands"] = [
            {"name": f"{PLACEHOLDER} {i + 1}", "mean": PLACEHOLDER, "std": PLACEHOLDER} for i in range(len(listed))
        ]
    elif "mean and std of bands" in unknown:
        content["bands"] = [{**band, "mean": PLACEHOLDER, "std": PLACEHOLDER} for band in content.get("bands", [])]
    for key in ("units", "output"):
        if key in unknown:
            content[key] = PLACEHOLDER
    if "classes" in unknown or "class names" in unknown:
        listed = content.get("classes") or [{"value": 0, "color": "#999999"}]
        content["classes"] = [{**one, "name": f"{PLACEHOLDER} {i}"} for i, one in enumerate(listed)]
    head = [
        f"# {printable(source.name)} does not say: {', '.join(found.unknown)}.",
        f"# Replace every {PLACEHOLDER}, and keep this file beside {content.get('weights')}.",
        "# units: reflectance, dn (stored numbers) or any; normalised input = (pixel - mean) / std.",
        "# output: logits, probabilities, binary_logit or binary_probability.",
        "# Look over window, output_stride and gsd_m, too: geoseg models show landcover-unet prints an example.",
    ]
    body = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
    return "\n".join(head) + "\n" + body
