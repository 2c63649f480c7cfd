"""A network that sees two dates: one encoder for both, their features differenced, then decoded."""

from collections.abc import Sequence
from typing import Literal

import segmentation_models_pytorch as smp
import torch
from torch import Tensor

from geoseg.errors import ParameterError

__all__ = ["SiameseUnet"]


class SiameseUnet(smp.Unet):
    """U-Net on the difference of two dates (FC-Siam-diff, Caye Daudt et al. 2018, with an encoder of smp).

    The bands of the first date come first, those of the second after them, the same in the same order. Tensors are
    called as in smp's Unet on one date, so that the encoder of a Unet for the same bands can be taken over.

    Args:
        encoder_name: Of segmentation_models_pytorch.
        encoder_depth: Stages of the encoder.
        encoder_weights: Name of weights that smp fetches; None draws them at random.
        decoder_channels: One for each stage.
        in_channels: Bands of both dates together.
        classes: Outputs.
        difference: ``absolute`` does not know which date came first, so dates that are swapped give the same;
            ``signed`` does: the second less the first.

    Raises:
        ParameterError: If the bands cannot be those of two dates.
    """

    def __init__(
        self,
        encoder_name: str = "resnet18",
        encoder_depth: int = 5,
        encoder_weights: str | None = None,
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
        in_channels: int = 6,
        classes: int = 2,
        difference: Literal["absolute", "signed"] = "absolute",
    ) -> None:
        if in_channels % 2:
            raise ParameterError(f"{in_channels} bands are not those of two dates: name the same for both")
        if difference not in ("absolute", "signed"):
            raise ParameterError(f"difference {difference!r} is not known: choose absolute or signed")
        super().__init__(
            encoder_name=encoder_name,
            encoder_depth=encoder_depth,
            encoder_weights=encoder_weights,
            decoder_channels=decoder_channels,
            in_channels=in_channels // 2,
            classes=classes,
        )
        self.is_signed = difference == "signed"

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 2 C, H, W) to (N, K, H, W) logits."""
        # both dates in one batch: a batch norm that is trained sees them together
        both = self.encoder(torch.cat(pixels.chunk(2, dim=1)))
        features = []
        for scale in both:
            before, after = scale.chunk(2)
            features.append(after - before if self.is_signed else (after - before).abs())
        logits: Tensor = self.segmentation_head(self.decoder(features))
        return logits
