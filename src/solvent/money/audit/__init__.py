"""The audit: log × rate cards × revenue → statement and verdict."""
