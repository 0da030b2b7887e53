"""Break-even between places to run: by volume, by month, and from the side of whoever sells."""
