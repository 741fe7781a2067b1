"""Sample rate of the Python client: batches of a stream until numpy arrays, one process.

    python python_sample.py fill   ADDR TOKENS ROWS
    python python_sample.py sample ADDR TOKENS BATCH SECONDS WHAT [SERVER_PID]

WHAT is uniform, priority or where. Every batch is looked at as a trainer would:
token_ids, logprobs and loss_mask as one contiguous array [batch, TOKENS]. The first
window warms the server's cache of rows: rows are timed after as many as the table holds.
"""

import json
import sys
import time

import trajlake
from python_insert import pool, server_cpu

FIELDS = ("token_ids", "logprobs", "loss_mask")
SPECS = {
    "uniform": {},
    "priority": {"weight": "priority"},
    "where": {"where": "effort = 'high' or effort = 'low'"},
}


def fill(addr: str, tokens: int, rows: int) -> None:
    some = pool(tokens, max(16, min(256, (64 << 20) // (tokens * 9))))
    lake = trajlake.connect(addr)
    efforts = ("none", "low", "high", "max")
    with lake.writer() as w:
        for i in range(rows):
            w.write(dict(some[i % len(some)], trajectory_id=f"s-{i}", effort=efforts[i % 4]))
    lake.annotate({"target_id": f"s-{i}", "kind": "priority", "value": 0.5 + i % 7} for i in range(rows))


def sample(addr: str, tokens: int, batch: int, seconds: float, what: str, pid: str | None = None) -> None:
    lake = trajlake.connect(addr)
    spec = {"snapshot": "pinned", "batch": {"rows": batch}, "columns": list(FIELDS), "seed": 1, **SPECS[what]}
    name = f"{what}-{batch}"
    lake.create_stream(name, spec)
    table = lake.stats()["trajectories"]
    replay = lake.replay(name, prefetch=4)
    n, begin, took = 0, 0.0, []
    warm, seen = False, 0
    while True:
        t = time.perf_counter()
        b = next(replay)
        arrays = [b.tensor(f).values.reshape(batch, tokens) for f in FIELDS]
        assert arrays[0].dtype == "int32" and arrays[0].flags.c_contiguous and len(b) == batch
        took.append(time.perf_counter() - t)
        seen += batch
        n += batch
        if not warm and seen >= 3 * table:
            warm, n, took = True, 0, []
            begin, cpu, server = time.perf_counter(), time.process_time(), server_cpu(pid)
        if warm and time.perf_counter() - begin > seconds:
            break
    wall = time.perf_counter() - begin
    took.sort()
    print(json.dumps({
        "what": "sample", "system": "trajlake", "stream": what, "payload_bytes": tokens * 9, "batch": batch, "rows_per_s": round(n / wall, 1),
        "mb_per_s": round(n * tokens * 9 / wall / 1e6, 1), "p50_ms": round(1e3 * took[len(took) // 2], 3), "p99_ms": round(1e3 * took[int(len(took) * 0.99)], 3),
        "cpu_s_client": round(time.process_time() - cpu, 2), "cpu_s_server": round(server_cpu(pid) - server, 2), "wall_s": round(wall, 2),
    }), flush=True)
    replay.close()


if __name__ == "__main__":
    verb, addr, *rest = sys.argv[1:]
    if verb == "fill":
        fill(addr, int(rest[0]), int(rest[1]))
    else:
        sample(addr, int(rest[0]), int(rest[1]), float(rest[2]), rest[3], *rest[4:])
