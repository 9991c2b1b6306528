"""The loss curve read: where it goes, what it will come to, and what both analysers say of it."""
