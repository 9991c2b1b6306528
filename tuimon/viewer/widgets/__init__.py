"""Thin Textual widgets: each holds a value and shows it. No markup, no reaching for the app."""
