"""ReplayDataset. `make test` has no PyTorch and skips these; `make interop` runs them."""

import itertools
import json
import subprocess
import sys

import pytest
import trajlake
from conftest import row

pytest.importorskip("torch", reason="NOT RUN: there is no PyTorch here; make interop has it")

SPEC = {"where": "reward > 0", "weight": "reward", "batch": {"rows": 16}, "seed": 7}


@pytest.fixture
def filled(lake):
    lake.append([row(i) for i in range(200)])
    return lake


def script(tmp_path, text, *args):
    """Runs a script in a process of its own, which may fork; returns the JSON that it prints."""
    path = tmp_path / "script.py"
    path.write_text(text)
    r = subprocess.run([sys.executable, path, json.dumps(sys.path), *args], capture_output=True, text=True, check=False)
    assert r.returncode == 0, r.stderr[-3000:]
    assert "Traceback" not in r.stderr and "terminate called" not in r.stderr, r.stderr[-3000:]
    return json.loads(r.stdout)


LOADERS = """
import itertools, json, sys
sys.path[:] = json.loads(sys.argv[1])
import torch.utils.data
import trajlake
from trajlake.torch import ReplayDataset

if __name__ == "__main__":
    addr, spec = sys.argv[2], json.loads(sys.argv[3])
    ids = lambda batches: [b["batch_id"] for b in batches]
    loader = lambda ds, workers, how: torch.utils.data.DataLoader(ds, batch_size=None, num_workers=workers, multiprocessing_context=how)
    ds = ReplayDataset(addr, spec, batches=7)
    got = []
    for workers, how in ((2, "fork"), (3, "fork"), (1, "spawn"), (0, None)):  # 0 connects here: after it no fork
        both = loader(ds, workers, how)
        got += [ids(both), ids(both)]  # another epoch is the same again
    first = list(itertools.islice(ds, 3))
    other = ReplayDataset(addr, spec, batches=7)
    other.load_state_dict(json.loads(json.dumps(ds.state_dict())))
    got.append(ids(first) + ids(other))
    got.append(got[0][:4] + ids(loader(ReplayDataset(addr, spec, position=4, batches=3), 1, "spawn")))
    try:
        list(loader(ds, 2, "fork"))
    except trajlake.UsageError as e:
        assert "spawn" in str(e)
    else:
        raise AssertionError("forked workers used gRPC after a fork")
    print(json.dumps(got))
"""


def test_loader_workers(filled, server, tmp_path):
    from trajlake.torch import ReplayDataset

    want = [b.batch_id for b in itertools.islice(filled.replay(SPEC), 7)]
    for k, got in enumerate(script(tmp_path, LOADERS, server.addr, json.dumps(SPEC))):
        assert got == want, k
    with pytest.raises(trajlake.ExhaustedError):
        next(iter(ReplayDataset(server.addr, {"where": "reward > 100"})))
    with pytest.raises(trajlake.UnavailableError):
        ReplayDataset("127.0.0.1:1", SPEC)


STREAMS = """
import itertools, json, sys
sys.path[:] = json.loads(sys.argv[1])
import torch.distributed
import trajlake
from trajlake.torch import ReplayDataset

if __name__ == "__main__":
    addr, got = sys.argv[2], []

    def train(ds, loader, steps):
        for b in itertools.islice(loader, steps):
            ds.ack(b, len(got), policy_version=len(got))
            got.append(b["batch_id"])
        return json.loads(json.dumps(ds.state_dict()))

    def resumed(state, **more):
        ds = ReplayDataset(addr, "mix", run="r", **more)
        ds.load_state_dict(state)
        return ds

    first = ReplayDataset(addr, "mix", run="r", batches=4)
    state = train(first, first.loader(num_workers=2), 3)  # forked; the third has been drawn by now, it does not count
    state = train(first, first.loader(), 1)  # the rest of the four
    state = train(first, first.loader(), 2)  # and it goes on
    assert ReplayDataset(addr, "mix", run="r").state_dict()["taken"] == 0
    second = resumed(state)
    state = train(second, second.loader(num_workers=1), 2)  # spawned, another number of workers
    assert second.state_dict()["position"] + second.state_dict()["taken"] == 8
    try:
        first.ack({"batch_id": got[-1], "position": 7}, 7)
    except trajlake.ConflictError:
        pass
    else:
        raise AssertionError("a process that was replaced acknowledged")
    third = resumed(state)
    plain = torch.utils.data.DataLoader(third, batch_size=None)
    state = train(third, plain, 2)
    ranks = [resumed(state, rank=r, world_size=2) for r in (0, 1)]  # another number of ranks
    parts = [next(iter(r)) for r in ranks]
    assert parts[0]["batch_id"] == parts[1]["batch_id"] and not set(parts[0]["trajectory_id"]) & set(parts[1]["trajectory_id"])
    got.append(parts[0]["batch_id"])
    for call in (lambda: resumed({**state, "run": "s"}), lambda: ReplayDataset(addr, "mix").ack(parts[0], 1), lambda: third.ack({}, 1), lambda: ReplayDataset(addr, {}, run="r")):
        try:
            call()
        except trajlake.UsageError:
            continue
        raise AssertionError("no error")

    early = ReplayDataset(addr, "mix", run="r")
    from torch.testing._internal.distributed.fake_pg import FakeStore
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=1, world_size=2)
    late = ReplayDataset(addr, "mix", position=10)
    assert (late.rank, late.world_size) == (1, 2)
    assert next(iter(late))["trajectory_id"] == parts[1]["trajectory_id"]
    try:
        next(iter(early))
    except trajlake.UsageError as e:
        assert "torch.distributed" in str(e)
    else:
        raise AssertionError("a dataset of rank 0 was used by rank 1")
    print(json.dumps(got))
"""


def test_streams(filled, server, tmp_path):
    filled.create_stream("mix", {"snapshot": "pinned", **SPEC})
    want = [b.batch_id for b in itertools.islice(filled.replay("mix"), 11)]
    assert script(tmp_path, STREAMS, server.addr) == want
    rows = [r for r in filled.ledger(run="r") if r["kind"] == "consumed"]
    assert [(r["step"], r["batch_id"]) for r in rows] == list(enumerate(want[:10]))


TOLD = """
import json, sys, time
sys.path[:] = json.loads(sys.argv[1])
from trajlake.torch import ReplayDataset

if __name__ == "__main__":
    ds = ReplayDataset(sys.argv[2], "live", run="r", policy_version=100, prefetch=0)
    ages, end = [], time.monotonic() + 60
    for step, b in enumerate(ds.loader(num_workers=1, prefetch_factor=1)):
        ages.append(b["staleness_versions"].max().item())
        ds.ack(b, step, policy_version=107)
        if ages[-1] != ages[0] or time.monotonic() > end:
            break
    print(json.dumps([ages[0], ages[-1]]))
"""


def test_workers_are_told_the_policy_version(lake, server, tmp_path):
    lake.append([row(i, policy_version_min=99, policy_version_max=99) for i in range(20)])
    lake.create_stream("live", {"batch": {"rows": 4}, "staleness": {"success": 50, "failure": 50, "unit": "versions"}})
    assert script(tmp_path, TOLD, server.addr) == [1, 8]
