"""Runs over each other: their curves in the same charts, and what differs between them."""
