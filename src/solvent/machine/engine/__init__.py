"""A CPU inference engine: model files, tokens, the native token step, and its NumPy truth (reference.py)."""
