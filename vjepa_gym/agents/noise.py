"""The random numbers of a search: the same for every robot, and a fresh stream for every plan."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

SEEDS_APART = 1_000_003
"""What lies between the seeds of one plan and the next; large, so that planners whose seeds are
neighbours share none."""


class Noise:
    """Standard normal numbers for the axes that are searched.

    What one robot does must not depend on how many there are, so that all are given the same
    numbers. Nor may it depend on how many iterations the plan before took, since a search goes on
    until the last robot has converged: every plan is seeded by its number.
    """

    def __init__(
        self, axes: Sequence[int], dim: int, *, seed: int, device: torch.device | str
    ) -> None:
        """Prepare the numbers.

        Args:
            axes: Which of the axes are searched; the others stay 0.
            dim: How many axes there are.
            seed: Seeds all plans; the first one's numbers are those of a generator with this seed.
            device: Where the numbers are made.
        """
        self._axes = torch.tensor(list(axes), device=device)
        self._dim = dim
        self._seed = seed
        self._generator = torch.Generator(device)
        self.reset()

    def reset(self) -> None:
        """Begin anew: the next plan is the first."""
        self._plans = 0

    def begin_plan(self) -> None:
        """Begin the numbers of the next plan."""
        # A generator takes seeds of 64 bits.
        self._generator.manual_seed((self._seed + SEEDS_APART * self._plans) % 2**63)
        self._plans += 1

    def white(self, samples: int, horizon: int) -> Float[Tensor, "samples horizon dim"]:
        """Return independent numbers, drawn step by step as in the released code of V-JEPA 2."""
        drawn = [self._normal(samples, len(self._axes)) for _ in range(horizon)]
        return self._spread(torch.stack(drawn, 1))

    def coloured(
        self, samples: int, horizon: int, exponent: float
    ) -> Float[Tensor, "samples horizon dim"]:
        """Return numbers that hang together along the horizon.

        Their power falls with the frequency f as 1 / f^exponent (Timmer and Koenig, On generating
        power law noise, 1995), as in iCEM (Pinneri et al., arXiv 2008.06389, section 3.1): 0 is
        white, 2 wanders. The lowest frequency stands for the constant part, and each number by
        itself has unit variance.
        """
        frequencies = torch.fft.rfftfreq(horizon, device=self._axes.device)
        amplitudes = frequencies.clamp_min(1 / horizon) ** (-exponent / 2)
        parts = self._normal(2, samples, len(self._axes), len(frequencies))
        real, imaginary = parts[0], parts[1]
        # The constant part, and the fastest one of an even number of steps, have no phase.
        alone = torch.zeros_like(frequencies, dtype=torch.bool)
        alone[0] = True
        if horizon % 2 == 0:
            alone[-1] = True
        real = torch.where(alone, real * 2**0.5, real)
        spectrum = torch.complex(real, imaginary.masked_fill(alone, 0.0)) * amplitudes
        weights = torch.where(alone, 2.0, 4.0) * amplitudes.square()
        series = torch.fft.irfft(spectrum, n=horizon) * horizon / weights.sum().sqrt()
        return self._spread(series.transpose(1, 2))

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator, device=self._axes.device)

    def _spread(
        self, drawn: Float[Tensor, "samples horizon axes"]
    ) -> Float[Tensor, "samples horizon dim"]:
        noise = drawn.new_zeros(*drawn.shape[:2], self._dim)
        noise[..., self._axes] = drawn
        return noise
