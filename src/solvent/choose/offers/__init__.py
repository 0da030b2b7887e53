"""Offers: places to run a model, what is asked of them, and which of them can serve at all."""
