"""Insert rate of the Python client: one process, one writer, receipts for all rows.

    python python_insert.py ADDR TOKENS SECONDS [SERVER_PID]
"""

import json
import os
import sys
import time

import numpy as np

import trajlake


def pool(tokens: int, rows: int) -> list[dict]:
    """Rows as replay buffers store them: Zipf token ids, random logprobs, a mask of runs."""
    rng = np.random.default_rng(0)
    cdf = np.cumsum(np.arange(1, 150_001, dtype=np.float64) ** -1.1)
    ids = rng.permutation(150_000).astype(np.int32)
    out = []
    for _ in range(rows):
        mask, at, on = np.zeros(tokens, np.int8), 0, 0
        while at < tokens:
            end = at + int(rng.integers(50, 500))
            mask[at:end] = on
            at, on = end, 1 - on
        draws = np.searchsorted(cdf / cdf[-1], rng.random(tokens)).clip(0, 149_999)
        out.append({"token_ids": ids[draws], "logprobs": -rng.exponential(size=tokens).astype(np.float32), "loss_mask": mask})
    return out


def server_cpu(pid: str | None) -> float:
    if not pid:
        return 0.0
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(addr: str, tokens: str, seconds: str, pid: str | None = None) -> None:
    rows = pool(int(tokens), max(16, min(256, (64 << 20) // (int(tokens) * 9))))
    lake = trajlake.connect(addr)
    writer = lake.writer()
    n, prefix = 0, f"py{os.getpid()}"
    cpu, server, begin = time.process_time(), server_cpu(pid), time.perf_counter()
    while time.perf_counter() - begin < float(seconds):
        writer.write(dict(rows[n % len(rows)], trajectory_id=f"{prefix}-{n}"))
        n += 1
    writer.flush()
    wall = time.perf_counter() - begin
    counts = writer.counts()
    writer.close()
    size = int(tokens) * 9
    print(json.dumps({
        "what": "insert", "system": "trajlake", "client": "python", "payload_bytes": size, "clients": 1, "rows_per_s": round(n / wall, 1),
        "mb_per_s": round(n * size / wall / 1e6, 1), "cpu_s_client": round(time.process_time() - cpu, 2),
        "cpu_s_server": round(server_cpu(pid) - server, 2), "rows": n, "committed": counts.get("committed"), "wall_s": round(wall, 2),
    }), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
