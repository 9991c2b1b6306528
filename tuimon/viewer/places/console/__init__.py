"""The console: what a run printed, as it prints it."""
