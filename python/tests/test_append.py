import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
import trajlake
from conftest import no_id, row


def statuses(receipts):
    return [r.status for r in receipts]


def test_receipts(lake):
    assert statuses(lake.append([row(0), row(1)])) == ["committed", "committed"]
    got = lake.append([row(1), row(2), row(2, reward=9.0), {"trajectory_id": "bad", "turns": "no"}, row(3)])
    assert statuses(got) == ["duplicate", "committed", "rejected", "rejected", "committed"]
    assert got[0].version == 1 and got[1].version == 2 and got[0].error is None
    assert isinstance(got[2].error, trajlake.ConflictError) and got[2].error.hint
    assert isinstance(got[3].error, trajlake.InvalidRowError) and got[3].error.field == "turns"
    assert got[3].trajectory_id == "bad" and got[3].version is None
    assert lake.stats()["trajectories"] == 4


def test_get_gives_back_what_went_in(lake):
    src = row(5, metadata={"k": "v"}, my_key={"a": [1, 2.5, None]})
    lake.append([src])
    got = lake.get(src["trajectory_id"])
    for key in ("task_id", "reward", "effort", "token_ids", "loss_mask", "logprobs", "metadata"):
        assert got[key] == src[key], key
    assert got["turns"][1]["text"] == "答え"
    assert got["extra"]["my_key"] == {"a": [1, 2.5, None]}
    assert lake.get_many(["nobody", src["trajectory_id"]])[0] is None
    with pytest.raises(trajlake.NotFoundError):
        lake.get("nobody")


@pytest.mark.parametrize(
    "ids,mask,logp",
    [
        (np.array([1, 2, 3]), np.array([True, False, True]), np.array([-1, -2, -0.5])),
        (np.array([1, 2, 3], np.uint16), np.array([1, 0, 1], np.int64), np.array([-1, -2, -0.5], np.float16)),
        ((1, 2, 3), (1, 0, 1), (-1.0, -2.0, -0.5)),
        (np.arange(1, 7)[::2] // 2 + 1, [True, False, True], np.array([-1, -2, -0.5], ">f8")),
    ],
)
def test_array_forms_are_one_row(lake, ids, mask, logp):
    plain = {"turns": [{"role": "user", "text": "x"}], "token_ids": [1, 2, 3], "loss_mask": [1, 0, 1], "logprobs": [-1, -2.0, -0.5]}
    first = lake.append([plain])[0]
    again = lake.append([dict(plain, token_ids=ids, loss_mask=mask, logprobs=logp)])[0]
    assert (first.status, again.status) == ("committed", "duplicate")
    assert first.trajectory_id == again.trajectory_id


@pytest.mark.parametrize(
    "change,field",
    [
        ({"reward": float("nan")}, "reward"),
        ({"reward": np.float32("inf")}, "reward"),
        ({"turns": [{"role": "user", "text": b"bytes"}]}, "turns[0].text"),
        ({"metadata": {"a": {1, 2}}}, "metadata.a"),
        ({"token_ids": [1, 2, 2**31]}, "token_ids"),
        ({"token_ids": np.array([1, 2, 2**40])}, "token_ids"),
        ({"token_ids": [1, None, 3]}, "token_ids"),
        ({"logprobs": [-0.1, float("nan"), 0]}, "logprobs"),
        ({"logprobs": np.array([0, 0])}, ""),
        ({"turns": [{"role": "user", "text": "\ud800"}]}, ""),
        ({"reward": "high"}, "reward"),
    ],
)
def test_bad_row_is_one_rejection(lake, change, field):
    good, bad = row(1), {**row(2), "token_ids": [1, 2, 3], "loss_mask": [1, 1, 1], "logprobs": [0, 0, 0], **change}
    got = lake.append([good, bad, row(3)])
    assert statuses(got) == ["committed", "rejected", "committed"], got
    assert isinstance(got[1].error, trajlake.InvalidRowError)
    assert got[1].trajectory_id == "toy-00002"
    assert got[1].error.field.startswith(field), got[1].error.field


def test_not_a_dict(lake):
    assert statuses(lake.append([row(0), 7, "text"])) == ["committed", "rejected", "rejected"]
    with pytest.raises(trajlake.UsageError):
        lake.append(row(0))


def test_twins_and_retries(lake):
    twin = no_id(1)
    first = lake.append([twin, twin, no_id(2)])
    assert statuses(first) == ["committed"] * 3
    assert len({r.trajectory_id for r in first}) == 3
    again = lake.append([twin, twin, no_id(2)])
    assert statuses(again) == ["duplicate"] * 3
    assert [r.trajectory_id for r in again] == [r.trajectory_id for r in first]


def test_large_row_in_pieces(lake):
    text = "0123456789abcdef" * 2**16
    big = row(0, turns=[{"role": "user", "text": text} for _ in range(20)])
    got = lake.append([row(1), big, row(2)])
    assert statuses(got) == ["committed"] * 3
    assert lake.get("toy-00000")["turns"][19]["text"] == text


def test_append_table(lake):
    rows = [no_id(i) for i in range(10)]
    rows[3]["token_ids"] = rows[3]["loss_mask"] = rows[3]["logprobs"] = None
    for r in rows:
        r["started_at"] = dt.datetime(2026, 1, 2, 3, 4, 5, 678901)
    table = pa.Table.from_pylist(rows)
    table = table.append_column("metadata", pa.array([[("k", str(i))] for i in range(10)], pa.map_(pa.string(), pa.string())))
    for i, r in enumerate(rows):
        r["metadata"] = {"k": str(i)}
    first = lake.append(rows)
    again = lake.append_table(pa.concat_tables([table.slice(0, 4), table.slice(4)]))
    assert statuses(first) == ["committed"] * 10
    assert statuses(again) == ["duplicate"] * 10, "an idless row by table is another row than by dict"
    got = lake.get(first[0].trajectory_id)
    assert got["started_at"] == "2026-01-02T03:04:05.678901Z" and got["metadata"] == {"k": "0"}


def test_annotate(lake):
    lake.append([row(0), row(1)])
    got = lake.annotate([{"target_id": "toy-00000", "kind": "reward", "name": "tests", "value": 5.0, "scorer": "pytest"}, {"kind": "reward"}])
    assert statuses(got) == ["committed", "rejected"]
    late = lake.scan(["trajectory_id", "reward", "reward_raw"], "reward = 5", snapshot=got[0].snapshot).read_all().to_pylist()
    assert late == [{"trajectory_id": "toy-00000", "reward": 5.0, "reward_raw": 0.0}]
    assert [r["trajectory_id"] for r in lake.ids("reward > 4")] == ["toy-00000"]


def test_reading(lake, server):
    lake.append([row(i) for i in range(20)])
    lake.append([row(i) for i in range(20, 30)])
    assert [v["version"] for v in lake.versions()][-2:] == [1, 2]
    assert lake.stats(snapshot=1)["trajectories"] == 20
    assert lake.scan(["token_ids"], snapshot=1).read_all().num_rows == 20
    info = lake.info()
    assert info["version"] == 2 and lake.stats(snapshot=info["snapshot"])["trajectories"] == 30
    with pytest.raises(trajlake.NotFoundError):
        lake.stats(snapshot=77)
    with pytest.raises(trajlake.UsageError) as e:
        lake.scan(["nope"])
    assert e.value.field == "nope" and e.value.hint
    with pytest.raises(trajlake.UsageError):
        list(lake.ids("reward >"))


def test_nobody_there(monkeypatch):
    monkeypatch.delenv("TRAJLAKE_SERVER", raising=False)
    with pytest.raises(trajlake.UsageError):
        trajlake.connect()
    with trajlake.connect("127.0.0.1:1", retry_for=0) as lk:
        for call in (lk.stats, lambda: lk.append([row(0)]), lambda: next(lk.replay({})), lambda: lk.scan()):
            with pytest.raises(trajlake.UnavailableError) as e:
                call()
            assert e.value.hint
