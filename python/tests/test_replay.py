import itertools
import pickle

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


def test_batches_hold_what_was_written(filled):
    for b in take(filled.replay(SPEC), 20):
        assert len(b) == 16 and b.version == 1 and b.snapshot and b.step == b.position
        tokens, mask, logp = b.tensor("token_ids"), b.tensor("loss_mask"), b.tensor("logprobs")
        assert (tokens.values.dtype, mask.values.dtype, logp.values.dtype) == (np.int32, np.int8, np.float32)
        assert tokens.offsets.dtype == np.int32 and tokens.offsets[0] == 0 and len(tokens) == 16
        padded, width = tokens.padded(-1), int(tokens.lengths.max())
        assert padded.shape == (16, width) and padded.dtype == np.int32
        for j, r in enumerate(b.table.to_pylist()):
            src = row(int(r["trajectory_id"][4:]))
            assert tokens[j].tolist() == src["token_ids"] and mask[j].tolist() == src["loss_mask"] and logp[j].tolist() == src["logprobs"]
            assert padded[j].tolist() == src["token_ids"] + [-1] * (width - len(src["token_ids"]))
            assert r["reward"] == src["reward"] > 0 and 0 < r["inclusion_probability"] <= 1
        assert tokens.padded(0, length=4).tolist() == [r[:4].tolist() + [0] * (4 - len(r)) for r in tokens]


def test_views_do_not_copy(filled):
    b = next(filled.replay(SPEC))
    t = b.tensor("token_ids")
    column = b.table.column("token_ids")
    assert column.num_chunks == 1 and not t.copied and not t.values.flags.owndata
    assert t.values.__array_interface__["data"][0] == column.chunk(0).values.buffers()[1].address
    part = b.table.slice(3, 5)
    sliced = trajlake.Batch(part, 0).tensor("token_ids")
    assert len(sliced) == 5 and sliced.offsets[0] == 0
    assert [r.tolist() for r in sliced] == part.column("token_ids").to_pylist()
    with pytest.raises(trajlake.UsageError):
        b.tensor("reward")
    with pytest.raises(trajlake.UsageError) as e:
        b.tensor("nope")
    assert e.value.hint


def test_the_same_again(filled):
    first = take(filled.replay(SPEC), 6)
    assert [b.position for b in first] == list(range(6))
    assert len({b.batch_id for b in first}) == 6
    filled.append([row(i) for i in range(200, 220)])
    pinned = {**SPEC, "snapshot": {"token": first[0].snapshot}}
    again = take(filled.replay(pinned, position=3, prefetch=0), 3)
    assert [b.table.drop_columns([]).to_pydict() for b in again] == [b.table.to_pydict() for b in first[3:]]
    by_version = take(filled.replay({**SPEC, "snapshot": {"version": 1}}), 1)[0]
    assert by_version.table.to_pydict() == first[0].table.to_pydict()
    assert next(filled.replay(SPEC)).version == 2


def test_state(filled):
    replay = filled.replay(SPEC, prefetch=3)
    take(replay, 4)
    state = replay.state_dict()
    rest = take(replay, 3)
    filled.append([row(i) for i in range(200, 220)])
    other = filled.replay(SPEC)
    other.load_state_dict(__import__("json").loads(__import__("json").dumps(state)))
    assert [b.batch_id for b in take(other, 3)] == [b.batch_id for b in rest]
    with pytest.raises(trajlake.UsageError):
        filled.replay({**SPEC, "seed": 8}).load_state_dict(state)
    with pytest.raises(trajlake.UsageError):
        other.load_state_dict({"position": 3})


def test_ranks_share_a_batch(filled):
    whole = next(filled.replay(SPEC))
    pinned = {**SPEC, "snapshot": {"version": 1}}
    parts = [next(filled.replay(pinned, rank=r, world_size=3)) for r in range(3)]
    assert sorted(len(p) for p in parts) == [5, 5, 6]
    assert sorted(i for p in parts for i in p.table["trajectory_id"].to_pylist()) == sorted(whole.table["trajectory_id"].to_pylist())
    with pytest.warns(RuntimeWarning, match="snapshot"):
        filled.replay(SPEC, rank=0, world_size=2)
    with pytest.raises(trajlake.UsageError):
        filled.replay(SPEC, rank=2, world_size=2)


def test_server_dies_under_a_trainer(server, filled):
    want = [b.batch_id for b in take(filled.replay(SPEC), 6)]
    replay = filled.replay({**SPEC, "snapshot": {"version": 1}}, prefetch=0)
    got = [b.table.to_pydict() for b in take(replay, 3)]
    server.kill()
    server.start()
    got += [b.table.to_pydict() for b in take(replay, 3)]
    assert got == [b.table.to_pydict() for b in take(filled.replay(SPEC), 6)]
    assert len(want) == 6


def test_bad_specs(filled):
    for spec, field in (({"wher": "x"}, "wher"), ({"where": "reward >"}, ""), ({"batch": {"rows": 0}}, "batch"), ({"snapshot": {"version": 99}}, "")):
        with pytest.raises(trajlake.TrajlakeError) as e:
            next(filled.replay(spec))
        assert isinstance(e.value, (trajlake.UsageError, trajlake.NotFoundError)), e.value
        assert e.value.field.startswith(field)
    for bad in (7, None):
        with pytest.raises(trajlake.UsageError):
            filled.replay(bad)


def test_batch_travels(filled):
    b = next(filled.replay(SPEC))
    c = pickle.loads(pickle.dumps(b))
    assert c.batch_id == b.batch_id and c.position == b.position and c.table.equals(b.table)


def test_torch(filled, server):
    torch = pytest.importorskip("torch")
    from trajlake.torch import ReplayDataset

    want = take(filled.replay(SPEC), 6)
    values, offsets = want[0].tensor("token_ids").torch()
    assert values.dtype == torch.int32 and values.tolist() == want[0].tensor("token_ids").values.tolist() and offsets.dtype == torch.int32
    ds = ReplayDataset(server.addr, SPEC, batches=6)
    for workers in (0, 2):
        got = list(torch.utils.data.DataLoader(ds, batch_size=None, num_workers=workers, multiprocessing_context="spawn" if workers else None))
        assert [b["batch_id"] for b in got] == [b.batch_id for b in want]
        assert torch.equal(got[5]["token_ids"], torch.from_numpy(want[5].tensor("token_ids").values.copy()))
    it = iter(ds)
    next(it), next(it)
    other = ReplayDataset(server.addr, SPEC, batches=6)
    other.load_state_dict(ds.state_dict())
    assert [b["position"] for b in other] == [2, 3, 4, 5]
    assert [b["position"] for b in other] == [0, 1, 2, 3, 4, 5]
