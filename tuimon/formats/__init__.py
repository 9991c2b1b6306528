"""TRADES: logs of other tools become runs that can be judged.

Knows the record and the nouns of a diagnosis, no torch, no screen. Every byte that is read here is somebody else's
and is believed only after a check.
"""

from tuimon.formats.read import read, read_source
from tuimon.formats.reading import Reading
from tuimon.formats.records import chunk_of, layers_of
from tuimon.formats.sources import Source, only, sources

__all__ = ["Reading", "Source", "chunk_of", "layers_of", "only", "read", "read_source", "sources"]
