"""Published numbers checked against each other."""
