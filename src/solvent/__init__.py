"""Can we afford to run it? What one output of an AI product costs, and what would make it pay."""

__version__ = "0.1.0"
