"""What to run where: offers, the cheapest mix, prediction, break-even, the path to viability, and stress."""
