"""An export as Parquet: one table, a column a metric, null where nothing was measured. Needs pyarrow.

    step int64, time double (seconds since the epoch, null where unknown), attempt int32, metrics double,
    layers float as "layer_grad_norm/blocks.0"; what a run says of itself is JSON in the schema's metadata, key "tuimon"
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

from tuimon.errors import UsageError
from tuimon.formats.exports.blocks import Block, Origin, Survey, facts
from tuimon.formats.exports.tables import spread
from tuimon.formats.exports.titles import titles
from tuimon.record.events import Event
from tuimon.record.plain import finite


class ParquetSink:
    """One table. Events are not for it."""

    def __init__(self, stream: BinaryIO, survey: Survey, origin: Origin) -> None:
        """UsageError where pyarrow is not installed."""
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise UsageError("parquet needs pyarrow: pip install 'tuimon[parquet]'") from None
        self._arrow: Any = pa
        self._survey = survey
        named = titles([*survey.names, *(f"{kind}/{layer}" for kind, layer in survey.layers)])
        kinds = [pa.float64()] * len(survey.names) + [pa.float32()] * len(survey.layers)
        self._schema = pa.schema(
            [("step", pa.int64()), ("time", pa.float64()), ("attempt", pa.int32()),
             *zip(named.values(), kinds, strict=True)],
            metadata={"tuimon": json.dumps(finite(facts(origin)), allow_nan=False)},
        )
        self._writer: Any = pq.ParquetWriter(pa.PythonFile(Counted(stream), mode="w"), self._schema)

    def write(self, block: Block, _events: Sequence[Event]) -> None:
        """Rows, as a row group."""
        arrow, n = self._arrow, len(block)
        found = [arrow.array(block.steps), arrow.array(block.times, mask=block.times == 0),
                 arrow.array(np.full(n, block.attempt, np.int32))]
        for name in self._survey.names:
            if name in block.columns:
                values, present = block.columns[name]
                found.append(arrow.array(values, mask=~present))
            else:
                found.append(arrow.nulls(n, arrow.float64()))
        for key in self._survey.layers:
            if key in block.layers:
                values, present = spread(block, key)
                with np.errstate(all="ignore"):
                    found.append(arrow.array(values.astype(np.float32), mask=~present))
            else:
                found.append(arrow.nulls(n, arrow.float32()))
        self._writer.write_table(arrow.Table.from_arrays(found, schema=self._schema))

    def end(self, _events: Sequence[Event]) -> None:
        """The footer, without which it is no Parquet file."""
        self._writer.close()


class Counted:
    """A stream that knows how much went into it, as a pipe does not."""

    closed = False

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._at = stream, 0

    def write(self, data: bytes) -> int:
        """All of it."""
        self._stream.write(data)
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        """Bytes so far."""
        return self._at

    def flush(self) -> None:
        """Hand on what waits."""
        self._stream.flush()

    def close(self) -> None:
        """Whoever opened the stream closes it."""

    def writable(self) -> bool:
        """Always."""
        return True

    def readable(self) -> bool:
        """Never."""
        return False

    def seekable(self) -> bool:
        """Never."""
        return False
