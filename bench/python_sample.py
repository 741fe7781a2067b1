"""Sample rate of the Python client: batches of a stream until numpy arrays, one process.

    python python_sample.py fill   ADDR TOKENS ROWS
    python python_sample.py sample ADDR TOKENS BATCH SECONDS WHAT [SERVER_PID [WARM]]

fill brings the table to ROWS rows, each with a priority that is written back in one call.
WHAT is uniform, priority or where, of a pinned snapshot, or live: uniform over the newest
rows, with the sum tree, where a pinned stream weighs all rows for each batch. Every batch is looked at as a trainer would:
token_ids, logprobs and loss_mask as one contiguous array [batch, TOKENS]. What is timed
comes after WARM × the table's rows, 6 if not said: the server's cache of rows is warm
then. The rate of the first of these rows, as many as the table has, is printed as
sample_cold, which is what it is if the server was only just started.
"""

import json
import sys
import time

import trajlake
from python_insert import pool, server_cpu

FIELDS = ("token_ids", "logprobs", "loss_mask")
SPECS = {
    "uniform": {},
    "live": {"snapshot": "live", "staleness": "off", "age_decay": "off"},
    "priority": {"weight": "priority"},
    "where": {"where": "effort = 'high' or effort = 'low'"},
}


def fill(addr: str, tokens: int, rows: int) -> None:
    lake = trajlake.connect(addr)
    if lake.stats()["trajectories"] >= rows:
        return
    some = pool(tokens, max(16, min(256, (64 << 20) // (tokens * 9))))
    efforts = ("none", "low", "high", "max")
    begin = time.perf_counter()
    with lake.writer() as w:
        for i in range(rows):
            w.write(dict(some[i % len(some)], trajectory_id=f"s-{i}", effort=efforts[i % 4]))
    filled = time.perf_counter()
    lake.annotate([{"target_id": f"s-{i}", "kind": "priority", "value": 0.5 + i % 7} for i in range(rows)])
    print(json.dumps({
        "what": "fill_table", "system": "trajlake", "client": "python", "payload_bytes": tokens * 9, "rows": rows,
        "rows_per_s": round(rows / (filled - begin), 1), "priorities_per_s": round(rows / (time.perf_counter() - filled), 1),
    }), flush=True)


class Stream:
    """Batches of one stream as arrays, and how long each took."""

    def __init__(self, lake: trajlake.Lake, name: str, tokens: int, batch: int) -> None:
        self.replay = lake.replay(name, prefetch=4)
        self.tokens, self.batch = tokens, batch
        self.took: list[float] = []

    def next(self) -> None:
        t = time.perf_counter()
        b = next(self.replay)
        arrays = [b.tensor(f).values.reshape(self.batch, self.tokens) for f in FIELDS]
        assert arrays[0].dtype == "int32" and arrays[0].flags.c_contiguous and len(b) == self.batch
        self.took.append(time.perf_counter() - t)

    def rows(self, n: float) -> float:
        """Draw n rows; their rate."""
        begin, drawn = time.perf_counter(), 0
        while drawn < n:
            self.next()
            drawn += self.batch
        return drawn / (time.perf_counter() - begin) if drawn else 0.0


def sample(addr: str, tokens: int, batch: int, seconds: float, what: str, pid: str | None = None, warm: str = "6") -> None:
    lake = trajlake.connect(addr)
    name = f"{what}-{batch}"
    lake.create_stream(name, {"snapshot": "pinned", "batch": {"rows": batch}, "columns": list(FIELDS), "seed": 1, **SPECS[what]})
    table, size = lake.stats()["trajectories"], tokens * 9
    base = {"system": "trajlake", "stream": what, "payload_bytes": size, "batch": batch}
    stream = Stream(lake, name, tokens, batch)
    if float(warm) >= 1:
        print(json.dumps({"what": "sample_cold", **base, "rows_per_s": round(stream.rows(table), 1)}), flush=True)
        stream.rows((float(warm) - 1) * table)
    stream.rows(16 * batch)  # the connection, and what is fetched ahead
    stream.took = took = []
    begin, cpu, server = time.perf_counter(), time.process_time(), server_cpu(pid)
    while len(took) < 3 or time.perf_counter() - begin < seconds:
        stream.next()
    wall, n = time.perf_counter() - begin, len(took) * batch
    took.sort()
    print(json.dumps({
        "what": "sample", **base, "rows_per_s": round(n / wall, 1), "mb_per_s": round(n * size / wall / 1e6, 1),
        "p50_ms": round(1e3 * took[len(took) // 2], 3), "p99_ms": round(1e3 * took[int(len(took) * 0.99)], 3),
        "cpu_s_client": round(time.process_time() - cpu, 2), "cpu_s_server": round(server_cpu(pid) - server, 2), "wall_s": round(wall, 2),
    }), flush=True)
    stream.replay.close()


if __name__ == "__main__":
    verb, addr, *rest = sys.argv[1:]
    if verb == "fill":
        fill(addr, int(rest[0]), int(rest[1]))
    else:
        sample(addr, int(rest[0]), int(rest[1]), float(rest[2]), rest[3], *rest[4:])
