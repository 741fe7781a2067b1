"""Memory while one enormous trajectory goes in: 2,000 turns of 100 KB."""

import base64
import json
import os
import random
import signal
import subprocess

import pytest

from conftest import BIN, run

LIMIT = 512  # MB; bar of the peak resident memory of a process


@pytest.fixture(scope="module")
def enormous(tmp_path_factory):
    """A file whose text does not compress, which is the worst case: the data file is as large as the row."""
    if not BIN:
        pytest.fail("TRAJLAKE_BIN is not set: build the binary and name it")
    path = tmp_path_factory.mktemp("enormous") / "big.jsonl"
    r = random.Random(3)
    with path.open("w") as f:
        f.write('{"trajectory_id":"big","turns":[')
        for k in range(2000):
            text = base64.b64encode(r.randbytes(75_000)).decode()
            f.write(("," if k else "") + json.dumps({"role": ["user", "assistant"][k % 2], "text": text}))
        f.write("]}\n")
    yield path
    path.unlink()


def start(*args):
    return subprocess.Popen([BIN, *map(str, args)], stdout=subprocess.PIPE)


def peak(process):
    """The exit code and the greatest resident memory, in MB, of a process that ends."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * 1024 / 1e6


def test_import(enormous, tmp_path):
    p = start("import", "--lake", tmp_path / "lake", "--json", enormous)
    assert json.load(p.stdout)["committed"] == 1
    code, mb = peak(p)
    assert code == 0 and mb <= LIMIT, mb


def test_serve(enormous, tmp_path):
    server = start("serve", "--lake", tmp_path / "lake", "--listen", "127.0.0.1:0", "--json")
    addr = json.loads(server.stdout.readline())["addr"]
    client = start("import", "--server", addr, "--json", enormous)
    assert json.load(client.stdout)["committed"] == 1
    server.send_signal(signal.SIGTERM)
    for process in (client, server):
        code, mb = peak(process)
        assert code == 0 and mb <= LIMIT, mb
    run("verify", "--lake", tmp_path / "lake")
