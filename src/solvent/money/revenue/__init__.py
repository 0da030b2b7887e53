"""How money comes in, and which customer it comes from."""
