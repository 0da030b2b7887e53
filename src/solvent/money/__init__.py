"""What a product costs and earns: usage, prices, revenue, the audit, and claims. Needs no compiler."""
