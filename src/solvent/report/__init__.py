"""Terminal, JSON, Markdown, CSV and HTML: formats a statement, computes nothing."""
