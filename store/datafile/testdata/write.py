"""Writes the fixtures of TestForeignFiles with other engines' Parquet writers.

Run in this directory with pyarrow, polars and duckdb installed. The rows are
those of foreignRows in interop_test.go.
"""

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

AT = 1764000000123456

call = pa.struct([("name", pa.string()), ("subagent_ids", pa.list_(pa.string()))])
turn = pa.struct([("role", pa.string()), ("text", pa.string()), ("tool_calls", pa.list_(call)), ("unknown_field", pa.int32())])
schema = pa.schema([
    ("trajectory_id", pa.string()),
    ("status", pa.string()),
    ("reward", pa.float64()),
    ("effort_level", pa.int8()),
    ("num_turns", pa.int16()),
    ("policy_version_min", pa.int32()),
    ("started_at", pa.timestamp("us", tz="UTC")),
    ("success", pa.bool_()),
    ("token_ids", pa.list_(pa.int32())),
    ("logprobs", pa.list_(pa.float32())),
    ("flags", pa.list_(pa.string())),
    ("metadata", pa.map_(pa.string(), pa.string())),
    ("turns", pa.list_(turn)),
    ("a_column_of_the_future", pa.list_(pa.int64())),
])

rows = [
    dict(trajectory_id="a", status="completed", reward=0.5, effort_level=30, num_turns=2, policy_version_min=7, started_at=AT,
         success=True, token_ids=[1, 2, 3], logprobs=[-0.5, -0.25, -1.0], flags=["x", "yy"], metadata=[("k", "v"), ("k2", "")],
         turns=[dict(role="user", text="hello"),
                dict(role="assistant", tool_calls=[dict(name="bash", subagent_ids=["s1", "s2"]), dict(name="ls", subagent_ids=[])])],
         a_column_of_the_future=[1, 2]),
    dict(trajectory_id="b", status="completed", token_ids=[], turns=[], flags=[]),
    dict(trajectory_id="轨迹", reward=-1.0, token_ids=[9], turns=[dict(text="", tool_calls=[]), dict()], policy_version_min=-3),
    dict(trajectory_id="d", status="failed", metadata=[("only", "one")], flags=[""], effort_level=0),
]
table = pa.Table.from_pylist(rows, schema=schema)


def write(name, t=table, **kw):
    pq.write_table(t, name + ".parquet", **kw)


write("pyarrow-default")
write("pyarrow-v2", data_page_version="2.0", compression="zstd")
write("pyarrow-index", write_page_index=True, compression="gzip", row_group_size=2)
write("pyarrow-plain", use_dictionary=False, compression="none", data_page_size=1)
write("pyarrow-lz4", compression="lz4", use_compliant_nested_type=False)  # list element named item
write("pyarrow-int96", use_deprecated_int96_timestamps=True)
write("pyarrow-millis", t=table.set_column(6, "started_at", table["started_at"].cast(pa.timestamp("ns", tz="UTC"))), version="2.6")
write("pyarrow-delta", use_dictionary=False,
      column_encoding={"trajectory_id": "DELTA_BYTE_ARRAY", "status": "DELTA_LENGTH_BYTE_ARRAY", "reward": "BYTE_STREAM_SPLIT",
                       "token_ids.list.element": "DELTA_BINARY_PACKED", "policy_version_min": "DELTA_BINARY_PACKED"})

# Narrow floats, and required columns.
strict = schema.set(0, pa.field("trajectory_id", pa.string(), nullable=False)).set(2, pa.field("reward", pa.float32()))
write("pyarrow-narrow", t=table.cast(strict))

# Polars has no map type, so its file goes without metadata.
pl.from_arrow(table.drop_columns(["metadata"])).write_parquet("polars.parquet", compression="zstd")

con = duckdb.connect()
con.register("t", table)
con.execute("set timezone='UTC'")
con.execute("copy (select * from t) to 'duckdb.parquet' (format parquet, codec zstd)")
con.execute("copy (select * from t) to 'duckdb-v2.parquet' (format parquet, parquet_version v2)")
