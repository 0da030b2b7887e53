"""The path to viability: which steps take the product to its policy, in which order, at which price."""
