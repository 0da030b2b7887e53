"""TurboQuant: vectors rotated, rounded to an optimal codebook, kept with one scale; the cache that is stored so."""
