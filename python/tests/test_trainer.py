"""What a trainer meets: nothing to draw, ranks, restarts."""

import datetime as dt
import decimal
import itertools
import json
import os
import threading
import time

import numpy as np
import pytest
import trajlake
from conftest import row

SPEC = {"where": "reward > 0", "weight": "reward", "batch": {"rows": 16}, "seed": 7}


@pytest.fixture
def filled(lake):
    lake.append([row(i) for i in range(200)])
    return lake


def take(replay, n):
    return list(itertools.islice(replay, n))


def test_nothing_to_draw_is_an_error(lake):
    """An endless sequence of empty batches would hang a trainer."""
    for rank, world in ((0, 1), (1, 2)):
        with pytest.raises(trajlake.ExhaustedError) as e:
            next(lake.replay({"snapshot": {"version": 0}}, rank=rank, world_size=world))
        assert e.value.hint
    lake.append([row(i) for i in range(20)])
    for spec in ({"where": "reward > 100"}, {"where": "task_set = 'nope'", "unit": "group"}, {"where": "reward = 0", "weight": "reward"}):
        with pytest.raises(trajlake.ExhaustedError) as e:
            for _ in lake.replay(spec):
                raise AssertionError("a batch of nothing")
        assert "no row" in str(e.value)
    with pytest.raises(trajlake.ExhaustedError) as e:
        next(lake.replay({"strata": {"by": "effort", "shares": {"max": 1}}, "batch": {"rows": 500}}))
    assert e.value.field == "strata.when_dry" and e.value.hint


def test_a_rank_may_get_nothing_of_a_small_batch(filled):
    spec = {"batch": {"rows": 2}, "snapshot": {"version": filled.info()["version"]}}
    parts = [next(filled.replay(spec, rank=r, world_size=3)) for r in range(3)]
    assert [len(p) for p in parts] == [1, 1, 0]
    assert len({p.batch_id for p in parts}) == 1
    empty = parts[2].tensor("token_ids")
    assert len(empty) == 0 and empty.values.dtype == np.int32 and empty.padded().shape == (0, 0)


def test_ranks_together_are_the_batch(filled):
    spec = {**SPEC, "unit": "group", "group": {"min": 1}, "batch": {"rows": 7}, "snapshot": {"version": filled.info()["version"]}}
    for whole in take(filled.replay(spec), 3):
        parts = [next(filled.replay(spec, rank=r, world_size=3, position=whole.position)) for r in range(3)]
        slots = sorted({s for p in parts for s in p.table["trajectory_id"].to_pylist()})
        assert slots == sorted(set(whole.table["trajectory_id"].to_pylist()))
        assert sum(map(len, parts)) == len(whole)


@pytest.mark.parametrize("name", ["token_ids", "loss_mask", "logprobs"])
def test_values_share_memory_with_the_batch(filled, name):
    b = next(filled.replay(SPEC))
    t = b.tensor(name)
    buffer = np.frombuffer(b.table.column(name).chunk(0).values.buffers()[1], np.uint8)
    assert np.shares_memory(t.values, buffer) and not t.values.flags.writeable
    assert np.shares_memory(t[3], t.values)
    assert not np.shares_memory(t.padded(), buffer)


def test_positions_and_states_resume_exactly(filled):
    want = take(filled.replay(SPEC), 9)
    filled.append([row(i) for i in range(300, 330)])
    pinned = {**SPEC, "snapshot": {"token": want[0].snapshot}}
    assert next(filled.replay(pinned, position=want[6].position)).table.equals(want[6].table)
    state = None
    replay = filled.replay(pinned, prefetch=4)
    for b in replay:
        if b.position == 4:
            state = json.loads(json.dumps(replay.state_dict()))
            break
    replay.close()
    with pytest.raises(StopIteration):
        next(replay)
    again = filled.replay(state["spec"])
    again.load_state_dict(state)
    assert [b.table.to_pydict() for b in take(again, 4)] == [b.table.to_pydict() for b in want[5:]]


def test_the_server_is_away_for_a_while(server, filled):
    pinned = {**SPEC, "snapshot": {"version": filled.info()["version"]}}
    want = [b.table.to_pydict() for b in take(filled.replay(pinned), 12)]
    replay = filled.replay(pinned, prefetch=3)
    got = [b.table.to_pydict() for b in take(replay, 4)]
    server.kill()
    back = threading.Thread(target=lambda: (time.sleep(1), server.start()))
    back.start()
    got += [b.table.to_pydict() for b in take(replay, 8)]
    back.join()
    assert got == want


def test_a_forked_process_is_refused(filled):
    """gRPC would crash or hang there."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        told = []
        for call in (filled.info, lambda: filled.append([row(0)]), lambda: list(filled.ids()), lambda: next(filled.replay(SPEC)), lambda: trajlake.connect(filled.addr)):
            try:
                call()
                told.append("no error")
            except BaseException as e:
                told.append(type(e).__name__)
        os.write(write, json.dumps(told).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        assert json.load(answer) == ["UsageError"] * 5
    os.waitpid(child, 0)


def test_append_table_of_other_writers(lake):
    """Types that public sets use, and columns that the lake has not."""
    pa = pytest.importorskip("pyarrow")
    table = pa.table(
        {
            "trajectory_id": pa.array(["x1", "x2"], pa.large_string()),
            "task_set": pa.array(["math", "math"]).dictionary_encode(),
            "started_at": pa.array([dt.datetime(2026, 1, 1)] * 2, pa.timestamp("ns")),
            "token_ids": pa.array([[1, 2], [3]], pa.large_list(pa.int64())),
            "loss_mask": pa.array([[True, False], [True]]),
            "logprobs": pa.array([[-0.5, -0.25], [-0.75]], pa.list_(pa.float64())),
            "metadata": pa.array([[("a", "b")], None], pa.map_(pa.string(), pa.string())),
            "day_seen": pa.array([dt.date(2026, 1, 2), None]),
            "price": pa.array([decimal.Decimal("1.25"), None], pa.decimal128(5, 2)),
            "nested": pa.array([{"q": [1.5]}, None]),
        }
    )
    assert [r.status for r in lake.append_table(table)] == ["committed"] * 2
    assert [r.status for r in lake.append_table(table.to_batches()[0])] == ["duplicate"] * 2
    got = lake.get("x1")
    assert (got["token_ids"], got["loss_mask"], got["logprobs"], got["metadata"]) == ([1, 2], [1, 0], [-0.5, -0.25], {"a": "b"})
    assert got["extra"] == {"day_seen": "2026-01-02", "price": 1.25, "nested": {"q": [1.5]}} and got["started_at"] == "2026-01-01T00:00:00Z"
    for wrong in ([{}], {"a": [1]}):
        with pytest.raises(trajlake.UsageError) as e:
            lake.append_table(wrong)
        assert e.value.hint
    assert [r.status for r in lake.append_table(pa.table({"trajectory_id": ["b"], "token_ids": [[1]], "image": [b"\0"]}))] == ["rejected"]
    with pytest.raises(trajlake.UsageError) as e:
        next(lake.replay({"unit": "pair"}))
    assert str(e.value).count(e.value.hint) == 1
