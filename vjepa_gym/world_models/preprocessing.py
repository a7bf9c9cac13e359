"""From camera images to what the encoder takes: crop, scale, normalise."""

from dataclasses import dataclass, field
from enum import Enum

import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vjepa_gym.images import area_weights


class Framing(Enum):
    """Which part of an image is taken, and how it is scaled; all three give the same size.

    They differ where the image has another size: `inner` leaves out an eighth of the short side,
    the others nothing of it; between `square` and `square_bilinear` edges differ by a fraction of a
    pixel.
    """

    square = "square"
    """The centred square, averaged by area, as in the training cache."""
    square_bilinear = "square_bilinear"
    """The centred square, interpolated, as V-JEPA 2-AC was released."""
    inner = "inner"
    """The short side scaled to 256/224 of the size, the centre cut out: how the released encoders
    are evaluated, and what the video processor of `transformers` does."""


INNER = 256 / 224
"""Short side that `Framing.inner` scales to, over the side that it cuts out."""


@dataclass(kw_only=True)
class PreprocessingConfig:
    """How pixels are normalised; the defaults are those of ImageNet, as in V-JEPA 2."""

    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    """Mean of red, green and blue, where white is 1."""
    std: list[float] = field(default_factory=lambda: [0.229, 0.224, 0.225])
    """Deviation of red, green and blue, where white is 1."""
    framing: Framing = Framing.square
    """Which part of an image is taken, and how it is scaled."""

    def __post_init__(self) -> None:
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError(
                f"mean and std have one number a colour, std positive; got {self.mean}, {self.std}"
            )


class Preprocessing(nn.Module):
    """Takes the centre of images, scales it to `image_size`, normalises."""

    scale: Float[Tensor, "3"]
    shift: Float[Tensor, "3"]

    def __init__(self, config: PreprocessingConfig, image_size: int) -> None:
        super().__init__()
        self.image_size = image_size
        self.framing = config.framing
        mean, std = torch.tensor(config.mean), torch.tensor(config.std)
        self.register_buffer("scale", 1 / (255 * std), persistent=False)
        self.register_buffer("shift", -mean / std, persistent=False)

    def forward(
        self, images: UInt8[Tensor, "n height width 3"]
    ) -> Float[Tensor, "n 3 {self.image_size} {self.image_size}"]:
        """Return normalised pixels.

        With `Framing.square` they are those of `vjepa_gym.images.resize`, but for its rounding.
        """
        if self.framing is Framing.inner:
            x = _inner(images, self.image_size)
        else:
            x = _square(images, self.image_size, by_area=self.framing is Framing.square)
        return (x * self.scale + self.shift).permute(0, 3, 1, 2)


def _square(
    images: UInt8[Tensor, "n height width 3"], size: int, *, by_area: bool
) -> Float[Tensor, "n {size} {size} 3"]:
    side = min(images.shape[1:3])
    x = _centre(images, side).float()
    if side == size:
        return x
    if by_area:
        weights = torch.from_numpy(area_weights(side, size)).to(x.device)
        return torch.einsum("th,nhwc,sw->ntsc", weights, x, weights)
    x = interpolate(x.permute(0, 3, 1, 2), (size, size), mode="bilinear", align_corners=False)
    return x.permute(0, 2, 3, 1)


def _inner(
    images: UInt8[Tensor, "n height width 3"], size: int
) -> Float[Tensor, "n {size} {size} 3"]:
    side = min(images.shape[1:3])
    short = int(size * INNER)
    shape = [int(short * length / side) for length in images.shape[1:3]]
    x = images.permute(0, 3, 1, 2).float()
    x = interpolate(x, shape, mode="bilinear", align_corners=False, antialias=True)
    # The public code scales bytes, so that what it normalises is whole numbers.
    return _centre(x.round().permute(0, 2, 3, 1), size)


def _centre(
    images: Shaped[Tensor, "n height width 3"], side: int
) -> Shaped[Tensor, "n {side} {side} 3"]:
    height, width = images.shape[1:3]
    top, left = (height - side) // 2, (width - side) // 2
    return images[:, top : top + side, left : left + side]
