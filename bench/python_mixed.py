"""Eight writers and one reader of a live stream under samples_per_insert: 4.

    python python_mixed.py ADDR TOKENS SECONDS INSERTS

The reader's rate alone is measured first, from a stream without a limiter over the first
rows, all of them in the server's cache. Then eight processes write INSERTS rows a second
together, of 0 so many that four samples of each make 0.8 of that rate, and a reader of a
limited stream, which has first used up what the older rows allow, draws for SECONDS.
ratio_error is how far samples and 4 × committed rows of that window differ; it is large
where the reader is slower than the limiter lets it be. rate_of_alone is the reader's rate
in the window over its rate alone; no more than 4 × inserts can be read.
"""

import json
import multiprocessing
import sys
import time

import trajlake
from python_insert import pool
from python_sample import FIELDS, Stream

RATIO, WRITERS, BATCH, FIRST = 4.0, 8, 256, 2000


def write(addr: str, tokens: int, rate: float, number: int, begin, stop) -> None:
    rows = pool(tokens, 16)
    n = 0
    with trajlake.connect(addr).writer() as w:
        begin.wait()
        began = time.perf_counter()
        while not stop.is_set():
            due = int((time.perf_counter() - began) * rate)
            while n < due:
                w.write(dict(rows[n % len(rows)], trajectory_id=f"m-{number}-{n}"))
                n += 1
            time.sleep(0.02)


def main(addr: str, tokens: int, seconds: float, inserts: float) -> None:
    lake = trajlake.connect(addr)
    rows = pool(tokens, 16)
    with lake.writer() as w:
        for i in range(FIRST):
            w.write(dict(rows[i % len(rows)], trajectory_id=f"f-{i}"))
    spec = {"batch": {"rows": BATCH}, "columns": list(FIELDS), "seed": 1, "staleness": "off", "age_decay": "off"}
    lake.create_stream("alone", spec)
    alone = Stream(lake, "alone", tokens, BATCH)
    alone.rows(3 * FIRST)
    begin, n = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        alone.next()
        n += BATCH
    rate = n / (time.perf_counter() - begin)
    alone.replay.close()

    lake.create_stream("limited", {**spec, "limiter": {"samples_per_insert": RATIO}})
    total = inserts or 0.8 * rate / RATIO
    context = multiprocessing.get_context("spawn")
    go, stop = context.Event(), context.Event()
    writers = [context.Process(target=write, args=(addr, tokens, total / WRITERS, i, go, stop)) for i in range(WRITERS)]
    for p in writers:
        p.start()
    limited = Stream(lake, "limited", tokens, BATCH)
    limited.rows(0.9 * RATIO * FIRST)
    time.sleep(3)  # the writers' processes have started
    go.set()
    count = lambda: lake.stats()["trajectories"]
    end = time.perf_counter() + 3
    while time.perf_counter() < end:
        limited.next()
    limited.took = []
    begin, inserted = time.perf_counter(), count()
    while time.perf_counter() - begin < seconds:
        limited.next()
    wall, inserted = time.perf_counter() - begin, count() - inserted
    samples = len(limited.took) * BATCH
    stop.set()
    for p in writers:
        p.join()
    print(json.dumps({
        "what": "mixed", "system": "trajlake", "payload_bytes": tokens * 9, "writers": WRITERS, "wanted_inserts_per_s": inserts, "samples_per_insert": RATIO,
        "alone_rows_per_s": round(rate, 1), "rows_per_s": round(samples / wall, 1), "rate_of_alone": round(samples / wall / rate, 4),
        "inserts_per_s": round(inserted / wall, 1), "ratio": round(samples / max(1, inserted), 4),
        "ratio_error": round(abs(samples / max(1, inserted) / RATIO - 1), 4), "wall_s": round(wall, 2),
    }), flush=True)
    limited.replay.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
