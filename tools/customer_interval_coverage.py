"""How often the 90% interval over customers holds the truth: synthetic products of lognormal customers.

A product's customers are drawn from a population whose mean is known; others like them are drawn as `choose.economics`
draws them, and the interval either holds n times the mean or doesn't. Prints a table. Enter at `coverage`.
"""

from __future__ import annotations

import numpy as np

from solvent.choose.economics import HIGH, LOW, resampled

SIGMAS, CUSTOMERS, PRODUCTS, DRAWS = (0.5, 1.0, 2.0), (5, 20, 73, 500), 300, 400


def coverage(sigma: float, n_customers: int, n_products: int = PRODUCTS, seed: int = 1) -> float:
    """Share of the products whose 90% interval of the sum over customers holds n · e^(σ²/2)."""
    random, held = np.random.default_rng(seed), 0
    truth = n_customers * float(np.exp(sigma**2 / 2))
    for product in range(n_products):
        customers = random.lognormal(0.0, sigma, size=(n_customers, 1))
        low, high = np.quantile(resampled(customers, DRAWS, seed=product)[:, 0], [LOW, HIGH])
        held += bool(low <= truth <= high)
    return held / n_products


def main() -> None:
    print("customers  " + "  ".join(f"σ = {sigma:g}" for sigma in SIGMAS))
    for n in CUSTOMERS:
        print(f"{n:>9}  " + "  ".join(f"{coverage(sigma, n):>7.0%}" for sigma in SIGMAS))


if __name__ == "__main__":
    main()
