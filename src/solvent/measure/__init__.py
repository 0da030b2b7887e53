"""What is measured here: speed, memory, energy, quality and cost of anything that turns a request into an output."""
