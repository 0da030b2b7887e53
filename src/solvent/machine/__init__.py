"""What runs models cheaply, and what this CPU can do."""
