import json
import subprocess
import sys
import threading

import pytest
import trajlake
from conftest import no_id, row
from trajlake._pb import trajlake_service_pb2 as pb
from trajlake._spool import SpoolLog


def test_writer(lake):
    with lake.writer() as w:
        for i in range(500):
            w.write(row(i))
        w.write({"reward": float("nan")})
        assert w.flush()
        w.write(row(3))
    got = w.receipts()
    assert w.counts() == {"committed": 500, "rejected": 1, "duplicate": 1}
    assert [r.trajectory_id for r in got[:500]] == [f"toy-{i:05d}" for i in range(500)]
    with pytest.raises(trajlake.UsageError):
        w.write(row(0))
    w.close()


def test_twins_over_the_life_of_a_writer(lake):
    for _ in range(2):
        with lake.writer() as w:
            for _ in range(5):
                w.write(no_id(1))
                w.flush()
    assert w.counts() == {"duplicate": 5}
    assert lake.stats()["trajectories"] == 5


def test_writer_over_restarts(server):
    """The server is killed again and again under a writer; every row is in once."""
    n = 3000
    with trajlake.connect(server.addr) as lk, lk.writer(retry_for=120) as w:
        stop = threading.Event()

        def chaos():
            while not stop.wait(0.3):
                server.kill()
                server.start()

        t = threading.Thread(target=chaos)
        t.start()
        try:
            for i in range(n):
                w.write(row(i) if i % 2 else no_id(i % 50))
                if i % 500 == 499:
                    w.flush()
        finally:
            stop.set()
            t.join()
    assert set(w.counts()) <= {"committed", "duplicate"}
    ids = [r["trajectory_id"] for r in trajlake.connect(server.addr).ids()]
    assert len(ids) == len(set(ids)) == n
    assert {r.trajectory_id for r in w.receipts()} == set(ids)


def test_spool_while_the_server_is_there(lake, tmp_path):
    spool = tmp_path / "spool"
    with lake.writer(spool_dir=spool) as w:
        for i in range(100):
            w.write(row(i))
    assert w.counts() == {"committed": 100}
    assert [p.name for p in spool.iterdir()] == []


def test_spool_while_it_is_not(server, tmp_path):
    spool = tmp_path / "spool"
    server.kill()
    with trajlake.connect(server.addr, retry_for=0) as lk:
        with lk.writer(spool_dir=spool, patience=0.2) as w:
            for i in range(100):
                w.write(row(i))
            w.write(no_id(1))
            w.write(no_id(1))
            w.write({"trajectory_id": "bad", "turns": "no", "token_ids": [1, 2]})
            w.flush()
        assert w.counts() == {"spooled": 103}
        with pytest.raises(trajlake.UnavailableError):
            lk.drain(spool)
    server.start()
    with trajlake.connect(server.addr) as lk:
        got = lk.drain(spool)
        assert [r.status for r in got] == ["committed"] * 102 + ["rejected"]
        assert lk.stats()["trajectories"] == 102
        assert lk.drain(spool) == []
    kept = [json.loads(line) for line in (spool / "rejected.jsonl").read_text().splitlines()]
    assert [(k["trajectory_id"], k["field"], k["row"]["token_ids"]) for k in kept] == [("bad", "turns", [1, 2])]


CRASH = """
import os, sys
sys.path.insert(0, sys.argv[3])
sys.path.insert(0, sys.argv[4])
import trajlake
from conftest import no_id, row
w = trajlake.connect(sys.argv[1]).writer(spool_dir=sys.argv[2])
for i in range(400):
    w.write(row(i) if i % 2 else no_id(i % 20))
    if i == 300:
        w.flush()
os._exit(9)
"""


def test_crash_of_the_writer(server, tmp_path):
    """A writer dies in the middle, the next one brings its rows in: the flushed ones all, none twice."""
    spool = tmp_path / "spool"
    here = str(__import__("pathlib").Path(__file__).parent)
    r = subprocess.run([sys.executable, "-c", CRASH, server.addr, str(spool), here, here + "/.."], check=False)
    assert r.returncode == 9
    with trajlake.connect(server.addr) as lk:
        with lk.writer(spool_dir=spool, patience=60) as w:
            w.write(row(9999))
        assert w.counts() == {"committed": 1}
        ids = [x["trajectory_id"] for x in lk.ids()]
        assert len(ids) == len(set(ids)) and 302 <= len(ids) <= 401
        assert {f"toy-{i:05d}" for i in range(1, 301, 2)} <= set(ids)
        assert sum(not i.startswith("toy-") for i in ids) >= 151
        assert [p.name for p in spool.iterdir()] == []


def test_torn_tail_is_no_row_and_damage_is_told(tmp_path):
    def fresh(name):
        log = SpoolLog.create(tmp_path / name)
        for k in range(3):
            log.append([b"item-%d-%d" % (k, i) for i in range(4)])
        log.settle([pb.AppendReceipt(digest=b"d" * 32) for _ in range(2)])
        seg = next(log.dir.glob("*.seg"))
        for fd in (log._out, log._acks, log._lock):
            __import__("os").close(fd)
        return seg

    def rows(name):
        (log,) = SpoolLog.abandoned(tmp_path / name)
        return log.settled, len(log.digests), list(log.read(log.settled, log.synced))

    assert (r := rows_of(fresh, rows, "whole"))[0:2] == (2, 64) and len(r[2]) == 10 and r[2][0] == b"item-0-2"
    seg = fresh("torn")
    data = seg.read_bytes()
    seg.write_bytes(data[:-3])
    assert rows("torn")[2][-1] == b"item-1-3"
    seg = fresh("blank")
    seg.write_bytes(data[: len(data) // 3 * 2] + b"\0" * (len(data) // 3))
    assert rows("blank")[2][-1] == b"item-1-3"
    seg = fresh("damaged")
    seg.write_bytes(data[:20] + b"X" + data[21:])
    with pytest.raises(trajlake.CorruptError) as e:
        rows("damaged")
    assert "byte 0" in str(e.value)


def rows_of(fresh, rows, name):
    fresh(name)
    return rows(name)
