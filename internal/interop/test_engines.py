"""Other engines read the tables as plain Delta: the same rows and values, before
and after a checkpoint, on a directory and on S3."""

import json

import deltalake
import duckdb
import polars
import pyarrow.fs
import pytest
from fsspec.implementations.arrow import ArrowFSWrapper

from conftest import fill, run


def by_id(table):
    return {r["trajectory_id"]: r for r in table.to_pylist()}


def arrow_s3(options):
    """The file system arrow-s3:// for DuckDB."""

    class ArrowS3(ArrowFSWrapper):
        protocol = "arrow-s3"

        @classmethod
        def _strip_protocol(cls, path):
            return path.removeprefix("arrow-s3://")

    return ArrowS3(pyarrow.fs.S3FileSystem(
        access_key=options["AWS_ACCESS_KEY_ID"], secret_key=options["AWS_SECRET_ACCESS_KEY"], region=options["AWS_REGION"],
        endpoint_override=options["AWS_ENDPOINT_URL"], allow_bucket_creation=False))


def compare(read, want):
    """Rows as an engine gave them against what was handed in."""
    assert sorted(read) == sorted(want)
    for i, row in want.items():
        got = read[i]
        for name in ("task_set", "task_id", "effort", "reward", "success"):
            assert got[name] == row.get(name), (i, name)
        assert list(got["token_ids"]) == row["token_ids"]
        assert list(got["loss_mask"]) == row["loss_mask"]
        assert len(got["turns"]) == 2
        assert got["turns"][0]["text"] == row["turns"][0]["text"]
        assert len(got["turns"][1]["tool_calls"] or []) == len(row["turns"][1]["tool_calls"])
        assert dict(got["metadata"] or []) == row.get("metadata", {})
        if row.get("tool_kinds"):  # derived where it was not handed in
            assert list(got["tool_kinds"]) == row["tool_kinds"]


@pytest.mark.parametrize("commits", [3, 104], ids=["log only", "past a checkpoint"])
def test_engines(place, tmp_path, commits):
    url, table, options = place
    if options and commits > 50:
        commits = 101
    want = fill(url, tmp_path, commits)
    hashes = {}
    for line in run("ids", "--lake", url, "--json").splitlines():
        o = json.loads(line)
        hashes[o["trajectory_id"]] = o["content_hash"]
    assert sorted(hashes) == sorted(want)

    dt = deltalake.DeltaTable(table, storage_options=options)
    p = dt.protocol()
    assert (p.min_reader_version, p.min_writer_version) == (1, 2)
    arrow = dt.to_pyarrow_table()
    compare(by_id(arrow), want)
    assert {r["trajectory_id"]: r["content_hash"].hex() for r in arrow.select(["trajectory_id", "content_hash"]).to_pylist()} == hashes

    frame = polars.read_delta(table, storage_options=options)
    assert sorted(frame["trajectory_id"].to_list()) == sorted(want)
    tokens = dict(zip(frame["trajectory_id"].to_list(), frame["token_ids"].to_list()))
    assert tokens == {i: r["token_ids"] for i, r in want.items()}

    db = duckdb.connect()
    files = dt.file_uris()
    if options:  # its own Parquet reader over a file system of Python: the extension httpfs is not on PyPI
        db.register_filesystem(arrow_s3(options))
        files = [f.replace("s3://", "arrow-s3://") for f in files]
    got = db.sql("select trajectory_id, reward, len(turns), list_sum(token_ids) from read_parquet(%r, union_by_name=true)" % files).fetchall()
    assert {r[0]: r[1:] for r in got} == {i: (r.get("reward"), 2, sum(r["token_ids"])) for i, r in want.items()}


def test_older_version(place, tmp_path):
    url, table, options = place
    want = fill(url, tmp_path, 4)
    versions = [json.loads(x) for x in run("versions", "--lake", url, "--json").splitlines()]
    rows = [v["rows"] for v in versions]
    assert sum(rows) == len(want)
    for v in versions:
        dt = deltalake.DeltaTable(table, version=v["version"], storage_options=options)
        assert dt.to_pyarrow_table(columns=["trajectory_id"]).num_rows == sum(x["rows"] for x in versions if x["version"] <= v["version"])


def test_all_tables_open(place, tmp_path):
    url, table, options = place
    fill(url, tmp_path, 1)
    note = tmp_path / "note.jsonl"
    note.write_text(json.dumps({"target_id": "e-0-0", "kind": "reward", "name": "tests", "value": 0.5, "scorer": "pytest"}) + "\n")
    run("annotate", "--lake", url, "--json", "-f", note)
    root = table.removesuffix("/trajectories")
    notes = deltalake.DeltaTable(root + "/annotations", storage_options=options).to_pyarrow_table().to_pylist()
    assert [(n["target_id"], n["kind"], n["value"]) for n in notes] == [("e-0-0", "reward", 0.5)]
    for name in ("tensors", "ledger"):
        assert deltalake.DeltaTable(f"{root}/{name}", storage_options=options).to_pyarrow_table().num_rows == 0
