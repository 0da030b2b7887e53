"""Dated rate cards: the catalogues, the user's own rates, and offers that are paid by the hour."""
