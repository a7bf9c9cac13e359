"""A camera that is carried round: what planning loses, and what a few moves win back."""
