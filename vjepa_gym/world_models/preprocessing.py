"""From camera images to what the encoder takes: crop, scale, normalise."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vjepa_gym.images import area_weights


@dataclass(kw_only=True)
class PreprocessingConfig:
    """How pixels are normalised; the defaults are those of ImageNet, as in V-JEPA 2."""

    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    """Mean of red, green and blue, where white is 1."""
    std: list[float] = field(default_factory=lambda: [0.229, 0.224, 0.225])
    """Deviation of red, green and blue, where white is 1."""

    def __post_init__(self) -> None:
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError(
                f"mean and std have one number a colour, std positive; got {self.mean}, {self.std}"
            )


class Preprocessing(nn.Module):
    """Takes the centred square of images, averages it by area to `image_size`, normalises."""

    scale: Float[Tensor, "3"]
    shift: Float[Tensor, "3"]

    def __init__(self, config: PreprocessingConfig, image_size: int) -> None:
        super().__init__()
        self.image_size = image_size
        mean, std = torch.tensor(config.mean), torch.tensor(config.std)
        self.register_buffer("scale", 1 / (255 * std), persistent=False)
        self.register_buffer("shift", -mean / std, persistent=False)

    def forward(
        self, images: UInt8[Tensor, "n height width 3"]
    ) -> Float[Tensor, "n 3 {self.image_size} {self.image_size}"]:
        """Return normalised pixels: those of `vjepa_gym.images.resize`, but for its rounding."""
        height, width = images.shape[1:3]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        x = images[:, top : top + side, left : left + side].float()
        if side != self.image_size:
            weights = torch.from_numpy(area_weights(side, self.image_size)).to(x.device)
            x = torch.einsum("th,nhwc,sw->ntsc", weights, x, weights)
        return (x * self.scale + self.shift).permute(0, 3, 1, 2)
