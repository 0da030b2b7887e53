"""A CPU inference engine: files, tokens, the model's step, generation. Enter at `load`; files at `model_file`."""
