"""Reads a table with foreign engines and prints what they see, as JSON.

usage: read.py TABLE [read | checkpoint | append | properties]

The last three change the table after, or instead of, reading it.
"""
import datetime
import json
import pathlib
import sys

import deltalake
import polars
import pyarrow

path = sys.argv[1]
mode = sys.argv[2] if len(sys.argv) > 2 else "read"
out = {}

if mode == "append":
    more = pyarrow.table({
        "id": pyarrow.array(["foreign"]),
        "n": pyarrow.array([1000], pyarrow.int64()),
        "day": pyarrow.array([datetime.date(2026, 11, 23)]),
    })
    deltalake.write_deltalake(path, more, mode="append")
    print(json.dumps(out))
    sys.exit()
if mode == "properties":
    deltalake.DeltaTable(path).alter.set_table_properties({"delta.dataSkippingNumIndexedCols": "8"})
    print(json.dumps(out))
    sys.exit()

table = deltalake.DeltaTable(path)
rows = table.to_pyarrow_table()
out["deltalake"] = {
    "version": table.version(),
    "ids": sorted(rows.column("id").to_pylist()),
    "sum": sum(rows.column("n").to_pylist()),
    "days": sorted({str(d) for d in rows.column("day").to_pylist()}),
    "txn": table.transaction_version("trajlake.nextSeq"),
    "history": [h.get("operation") for h in table.history()],
}

frame = polars.scan_delta(path)
full = frame.collect()
out["polars"] = {"ids": sorted(full["id"].to_list()), "sum": full["n"].sum()}
out["polars_pruned"] = sorted(frame.filter(polars.col("n") >= 3).collect()["id"].to_list())
early = polars.read_delta(path, version=1)
out["polars_v1"] = sorted(early["id"].to_list())

try:
    import duckdb
    import duckdb_extension_delta

    # The wheel brings the extension as a file, for its own version of DuckDB.
    root = pathlib.Path(duckdb_extension_delta.__file__).parent
    file = next(root.glob(f"extensions/v{duckdb.__version__}/*.duckdb_extension"), None)
    out["duckdb"] = None
    if file:
        duck = duckdb.connect(config={"allow_unsigned_extensions": "true"})
        duck.sql(f"load '{file}'")
        out["duckdb"] = {"sum": int(duck.sql(f"select sum(n) from delta_scan('{path}')").fetchone()[0])}
except ImportError:
    out["duckdb"] = None

if mode == "checkpoint":
    table.create_checkpoint()

print(json.dumps(out))
