"""The cheapest mix of offers over a day, what it trades, and what it costs to be sure of it."""
