"""Pictures as pure functions of values: rasters, charts, the heat strip, sparklines.

Nothing here knows a terminal, a clock or a widget. What comes out is a `Picture`: rows of runs of cells, each run with
a foreground role and a background role; `tuimon.viewer.theme` turns roles into styles.
"""
