"""The fully convolutional network of torchvision, called like those of segmentation_models_pytorch."""

from torch import Tensor, nn
from torchvision.models import segmentation

from geoseg.errors import ParameterError

__all__ = ["FCN"]

_ENCODERS = {"resnet50": segmentation.fcn_resnet50, "resnet101": segmentation.fcn_resnet101}


class FCN(segmentation.FCN):
    """FCN (Long et al. 2015) on a dilated ResNet; logits at 1/8 of the resolution, interpolated.

    Tensors are called as torchvision calls them, so that its state dicts fit.

    Args:
        encoder_name: ``resnet50`` or ``resnet101``.
        encoder_weights: Only None: pretrained weights are torchvision's, for three bands.
        in_channels: Bands.
        classes: Outputs.

    Raises:
        ParameterError: If there is no such encoder, or pretrained weights are asked for.
    """

    def __init__(
        self, encoder_name: str = "resnet50", encoder_weights: None = None, in_channels: int = 3, classes: int = 1
    ) -> None:
        if encoder_name not in _ENCODERS or encoder_weights is not None:
            raise ParameterError(f"FCN has the encoders resnet50 and resnet101 without weights, not {encoder_name}")
        built = _ENCODERS[encoder_name](weights=None, weights_backbone=None, num_classes=classes, aux_loss=False)
        super().__init__(backbone=built.backbone, classifier=built.classifier)
        if in_channels != 3:
            self.backbone.conv1 = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, C, H, W) to (N, K, H, W) logits."""
        logits: Tensor = super().forward(pixels)["out"]
        return logits
