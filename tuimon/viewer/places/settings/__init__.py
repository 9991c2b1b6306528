"""The settings: what can be chosen, where each value comes from, and a sample that wears it at once."""
