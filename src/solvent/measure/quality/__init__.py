"""Quality, measured: choice and continuation sets, needles, divergence, or a user's own scores; compared in pairs."""
