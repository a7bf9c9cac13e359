"""Small networks trained on the frozen latents of a finished world model, kept in its folder."""
