"""The guide: what the notebook teaches, to be read beside a curve that shows it."""
