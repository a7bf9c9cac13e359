"""Where the hand is in a view, read off its tokens."""

from jaxtyping import Float
from torch import Tensor, nn


class PoseReader(nn.Module):
    """Reads the hand's pose off the tokens of one view."""

    def __init__(self, width: int, tokens: int, token_width: int, hidden: int) -> None:
        """Draw new weights.

        Args:
            width: Features of a token.
            tokens: Tokens of a view.
            token_width: Features that are kept of each.
            hidden: Features of the two hidden layers.
        """
        super().__init__()
        self.token_embed = nn.Linear(width, token_width)
        self.layers = nn.Sequential(
            nn.Linear(tokens * token_width, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, 7),
        )

    def forward(self, latents: Float[Tensor, "n tokens dim"]) -> Float[Tensor, "n 7"]:
        """Return poses as `InverseDynamics.normalise` does."""
        return self.layers(self.token_embed(latents).flatten(1))
