"""Ternary weights: −1, 0 or 1 times a scale, in models that were trained so (BitNet b1.58)."""
