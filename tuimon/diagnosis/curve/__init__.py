"""Our reading of a loss curve, beside the notebook's: trend, noise, laws, swings, changes, forecast. numpy only."""

from tuimon.diagnosis.curve.model import CurveReading
from tuimon.diagnosis.curve.reading import read_curve

__all__ = ["CurveReading", "read_curve"]
