"""A real server for the tests: the binary named by TRAJLAKE_BIN."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import warnings

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import trajlake  # noqa: E402


class Server:
    """`trajlake serve` on a lake of its own; it can be killed and started again at the same address."""

    def __init__(self, root):
        self.lake = root / "lake"
        self.log = root / "server.log"
        self.addr = "127.0.0.1:0"
        self.p = None
        self.start()

    def start(self):
        with open(self.log, "a") as log:
            self.p = subprocess.Popen(
                [os.environ["TRAJLAKE_BIN"], "serve", "--lake", str(self.lake), "--listen", self.addr, "--json"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "TRAJLAKE_INDEX": str(self.lake.parent / "index")},
            )
        line = self.p.stdout.readline()
        assert line, self.log.read_text()[-2000:]
        self.addr = json.loads(line)["addr"]

    def kill(self):
        self.p.send_signal(signal.SIGKILL)
        self.p.wait()
        self.p.stdout.close()

    def stop(self):
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGTERM)
            code = self.p.wait(60)
            self.p.stdout.close()
            assert code == 0, self.log.read_text()[-2000:]


@pytest.fixture
def server(tmp_path):
    if not os.environ.get("TRAJLAKE_BIN"):
        warnings.warn("TRAJLAKE_BIN names no trajlake binary: the tests against a server are SKIPPED", stacklevel=1)
        pytest.skip("TRAJLAKE_BIN is not set")
    s = Server(tmp_path)
    yield s
    s.stop()


@pytest.fixture
def lake(server):
    with trajlake.connect(server.addr, retry_for=30) as lk:
        yield lk


def row(i, **more):
    """Row i: deterministic, with tokens."""
    return {
        "trajectory_id": f"toy-{i:05d}",
        "task_set": "math",
        "task_id": f"t{i % 5}",
        "group_id": f"g{i // 4}",
        "effort": ["none", "low", "high"][i % 3],
        "mode": "thinking",
        "reward": (i % 4) / 4,
        "turns": [{"role": "user", "text": f"question {i}"}, {"role": "assistant", "sampled": True, "text": "答え"}],
        "token_ids": list(range(i, i + 3 + i % 7)),
        "loss_mask": [1] * (3 + i % 7),
        "logprobs": [-0.5 * k for k in range(3 + i % 7)],
        **more,
    }


def no_id(i, **more):
    """Row i without an id."""
    r = row(i, **more)
    del r["trajectory_id"]
    return r
