import itertools
import json
import threading
import time

import numpy as np
import pytest
import trajlake
from conftest import row

PINNED = {"snapshot": "pinned", "where": "reward > 0", "weight": "reward", "batch": {"rows": 8}, "seed": 3}
LIVE = {"batch": {"rows": 4}, "staleness": "off", "age_decay": "off", "columns": ["token_ids", "logprobs"]}


@pytest.fixture
def filled(lake):
    lake.append([row(i) for i in range(200)])
    return lake


def take(replay, n):
    return list(itertools.islice(replay, n))


def ids(batches):
    return [b.table["trajectory_id"].to_pylist() for b in batches]


def test_create_show_list(filled):
    made = filled.create_stream("mix", PINNED)
    assert made["stream"] == "mix" and made["spec"]["seed"] == 3 and made["snapshot"] and len(made["spec_hash"]) == 64
    assert filled.create_stream("mix", json.dumps(PINNED)) == made == filled.stream("mix")
    with pytest.raises(trajlake.ConflictError):
        filled.create_stream("mix", {**PINNED, "seed": 4})
    with pytest.raises(trajlake.UsageError):
        filled.create_stream("bad", {"wher": "x"})
    with pytest.raises(trajlake.NotFoundError):
        filled.stream("none")
    with pytest.raises(trajlake.NotFoundError):
        next(filled.replay("none"))
    assert [s["stream"] for s in filled.streams()] == ["mix"]
    x = filled.explain("mix")
    assert x["candidates"] == 200 and 0 < x["eligible"] < 200 and sum(x["excluded"].values()) == 200 - x["eligible"]
    assert filled.explain({**PINNED})["spec_hash"] == x["spec_hash"]


def test_a_stream_is_a_function(filled):
    filled.create_stream("mix", PINNED)
    want = take(filled.replay("mix"), 5)
    filled.append([row(i) for i in range(200, 260)])
    assert ids(take(filled.replay("mix", run="r1"), 5)) == ids(want) and [b.batch_id for b in take(filled.replay("mix"), 5)] == [b.batch_id for b in want]
    assert ids(take(filled.replay("mix", position=3, prefetch=0), 2)) == ids(want[3:])
    parts = [next(filled.replay("mix", rank=r, world_size=3)) for r in range(3)]
    assert sorted(len(p) for p in parts) == [2, 3, 3] and {p.batch_id for p in parts} == {want[0].batch_id}
    assert sorted(i for p in ids(parts) for i in p) == sorted(ids(want)[0])
    r = want[0].table.to_pylist()[0]
    assert 0 < r["inclusion_probability"] <= 1 and r["stratum"] == "all" and r["importance_weight"] > 0 and r["row_weight"] == 1 and r["gone"] is None


def test_ack_and_ledger(filled):
    filled.create_stream("mix", PINNED)
    s = filled.replay("mix", run="r1")
    seen = []
    for step, b in enumerate(take(s, 4)):
        b.ack(step, policy_version=step)
        b.ack(step, policy_version=step)  # again is the same
        seen.append(b)
    rows = [r for r in filled.ledger(run="r1") if r["kind"] == "consumed"]
    assert [(r["step"], r["batch_id"]) for r in rows] == [(i, b.batch_id) for i, b in enumerate(seen)]
    assert sorted(rows[2]["trajectory_ids"]) == sorted(ids(seen)[2])
    assert [r["step"] for r in filled.ledger(run="r1", step=2) if r["kind"] == "consumed"] == [2]
    one = ids(seen)[1][0]
    assert 1 in [r["step"] for r in filled.ledger(trajectory=one) if r["kind"] == "consumed"]
    again = filled.batch(seen[2].batch_id)
    assert again.batch_id == seen[2].batch_id and again.table.to_pydict() == seen[2].table.to_pydict()
    with pytest.raises(trajlake.NotFoundError):
        filled.batch("00" * 16)
    take(s, 1)[0].nack("a NaN in the loss")
    assert [r["reason"] for r in filled.ledger(run="r1") if r["kind"] == "nack"] == ["a NaN in the loss"]
    with pytest.raises(trajlake.UsageError):
        next(filled.replay("mix")).ack(0)
    with pytest.raises(trajlake.UsageError):
        next(filled.replay(PINNED)).ack(0)


def test_resume_and_fence(filled):
    filled.create_stream("mix", PINNED)
    first = filled.replay("mix", run="r1")
    for step, b in enumerate(take(first, 3)):
        b.ack(step)
    state = json.loads(json.dumps(first.state_dict()))
    late = next(first)
    second = filled.replay("mix", run="r1")
    second.load_state_dict(state)
    b = next(second)
    assert b.position == 3 and b.batch_id == late.batch_id
    b.ack(3)
    with pytest.raises(trajlake.ConflictError):  # the process before it is fenced
        late.ack(3)
    assert [r["step"] for r in filled.ledger(run="r1") if r["kind"] == "consumed"] == [0, 1, 2, 3]
    with pytest.raises(trajlake.UsageError):
        filled.replay("mix", run="r2").load_state_dict(state)
    for step, b in enumerate(take(filled.replay("mix", run="r2"), 4)):
        b.ack(step)
    d = filled.ledger_diff("r1", "r2")
    assert d["same_steps"] == 4 and d["first_difference"] is None and not d["only_a"] and not d["only_b"]


def test_live_stream_sees_new_rows(filled):
    filled.create_stream("live", {**LIVE, "where": "task_id = 'late'"})
    s = filled.replay("live", run="r", prefetch=1)
    got = []
    t = threading.Thread(target=lambda: got.append(next(s)))
    t.start()
    end = time.monotonic() + 20
    while s.waiting is None and t.is_alive() and time.monotonic() < end:
        time.sleep(0.05)
    filled.append([{**row(i), "trajectory_id": f"late-{i}", "task_id": "late"} for i in range(8)])
    t.join(30)
    assert got and all(i.startswith("late-") for i in ids(got)[0])
    s.close()


def test_live_stream_sees_quarantine_and_priority(filled):
    filled.create_stream("live", {**LIVE, "weight": "priority", "batch": {"rows": 16}})
    s = filled.replay("live", run="r", prefetch=0)
    before = {i for b in take(s, 5) for i in ids([b])[0]}
    filled.annotate([{"target_id": i, "kind": "quarantine", "name": "hack", "reason": "test"} for i in sorted(before)])
    time.sleep(1.5)
    after = {i for b in take(s, 5)[2:] for i in ids([b])[0]}
    assert after and not after & before


def test_patience(filled):
    filled.create_stream("starved", {**LIVE, "limiter": {"min_size": 100000}})
    s = filled.replay("starved", patience=0.5)
    with pytest.raises(trajlake.UnavailableError) as e:
        next(s)
    assert e.value.wait == {"reason": "min_size", "stratum": "", "have": 200, "want": 100000}
    filled.set_limiter("starved", min_size=10)
    assert len(next(filled.replay("starved", patience=10))) == 4


def test_limiter_of_samples_per_insert(filled):
    filled.create_stream("ratio", {**LIVE, "limiter": {"min_size": 1, "samples_per_insert": 0.1}})
    s = filled.replay("ratio", run="r", patience=0.5, prefetch=0)
    with pytest.raises(trajlake.UnavailableError) as e:
        take(s, 20)
    assert e.value.wait["reason"] == "samples_per_insert"
    assert s.position * 4 <= 200 * 0.1 + 4


def test_leases_are_disjoint(filled):
    filled.create_stream("mix", PINNED)
    a, b = filled.lease("mix", "g", "one", ttl=30), filled.lease("mix", "g", "two", ttl=30)
    assert a[0] != b[0]
    filled.release("mix", "g", "one", *a, done=False)
    assert filled.lease("mix", "g", "two", ttl=30)[0] == a[0]


def test_tensors_ride_along(filled):
    some = next(filled.replay({**PINNED, "batch": {"rows": 40}, "snapshot": {"version": 1}})).table["trajectory_id"].to_pylist()
    have = {i: np.arange(12 + n, dtype=np.int16).reshape(-1, 1) for n, i in enumerate(some[::2])}
    for i, a in have.items():
        assert filled.append_tensor(i, "routed_experts", a, missing="-1").status == "committed"
        assert filled.append_tensor(i, "routed_experts", a, missing="-1").status == "duplicate"
    assert filled.append_tensor(some[0], "routed_experts", np.zeros(3)).status == "rejected"
    filled.create_stream("mix", {**PINNED, "batch": {"rows": 40}, "tensors": ["routed_experts"], "columns": ["token_ids"]})
    b = next(filled.replay("mix"))
    assert b.table["trajectory_id"].to_pylist() == some
    for i, a in zip(some, b.arrays("routed_experts")):
        assert (a is None) == (i not in have)
        if a is not None:
            assert a.dtype == np.int16 and np.array_equal(a, have[i])
    with pytest.raises(trajlake.UsageError):
        b.arrays("token_ids")


def test_server_dies_under_a_stream(server, filled):
    filled.create_stream("mix", PINNED)
    s = filled.replay("mix", run="r", prefetch=2)
    got = take(s, 3)
    server.kill()
    server.start()
    got += take(s, 4)
    got[-1].ack(6)
    assert ids(got) == ids(take(filled.replay("mix"), 7))
