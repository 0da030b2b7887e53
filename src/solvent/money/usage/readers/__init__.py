"""One file per log format: vendor usage in, canonical requests out."""
