"""A client of OpenAI-compatible servers that stamps first and parses after."""
