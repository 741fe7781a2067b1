"""The examples, run as programs."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest
import trajlake

EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture
def example(server, tmp_path):
    """Runs an example on the server, which must end as it should; returns what it printed."""

    def run(name, *args, code=0):
        paths = os.pathsep.join(p for p in sys.path if p)
        env = {**os.environ, "TRAJLAKE_SERVER": server.addr, "PYTHONPATH": paths}
        r = subprocess.run([sys.executable, EXAMPLES / name, *map(str, args)], env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert r.returncode == code, r.stderr[-3000:]
        return r.stdout

    return run


def consumed(server, run):
    with trajlake.connect(server.addr) as lake:
        return [(r["step"], r["batch_id"]) for r in lake.ledger(run=run) if r["kind"] == "consumed"]


def check(server, example, tmp_path, kills, *more):
    """Trains once in one go and once with kills: the same weights, the same ledger, and it learns."""
    example("train_offpolicy.py", "--state", "x", "--prepare")
    calm = example("train_offpolicy.py", "--state", "calm.json", "--run", "calm", *more)
    for kill in kills:
        example("train_offpolicy.py", "--state", "killed.json", "--run", "killed", "--kill-at", kill, *more, code=-signal.SIGKILL)
    example("train_offpolicy.py", "--state", "killed.json", "--run", "killed", *more)
    want, got = (json.loads((tmp_path / f"{run}.json").read_text()) for run in ("calm", "killed"))
    assert got["weights"] == want["weights"] and got["step"] == want["step"]
    steps = consumed(server, "calm")
    assert [s for s, _ in steps] == list(range(want["step"])) and consumed(server, "killed") == steps
    first, last = map(float, re.findall(r"expected reward ([0-9.]+)", calm))
    assert first == 0.125 and last > 0.9
    return want


def test_train_offpolicy(server, example, tmp_path):
    check(server, example, tmp_path, (7, 8, 19))  # 7 kills before step 7 is saved, 8 soon after


def test_train_offpolicy_torch(server, example, tmp_path):
    pytest.importorskip("torch", reason="NOT RUN: there is no PyTorch here; make interop has it")
    import numpy as np

    got = check(server, example, tmp_path, (8,), "--steps", "30", "--torch")
    example("train_offpolicy.py", "--state", "numpy.json", "--run", "numpy", "--steps", "30")
    assert consumed(server, "numpy") == consumed(server, "calm")
    assert np.allclose(json.loads((tmp_path / "numpy.json").read_text())["weights"], got["weights"], atol=1e-5)


def test_trainer(server, example, tmp_path):
    assert "the lake is empty" in example("trainer.py")
    example("train_offpolicy.py", "--state", "x", "--prepare")
    assert example("trainer.py").count("\n") == 10
