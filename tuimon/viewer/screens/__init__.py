"""Screens: the overview, and the dialogs that stand before it. They hold state of looking, never state of the run."""
