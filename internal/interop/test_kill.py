"""SIGKILL of an import at random moments: importing again ends with each
trajectory exactly once, and a clean lake."""

import json
import random
import subprocess

import pytest

from conftest import BIN, rows, run

SEED = 7


def test_killed_imports(tmp_path):
    if not BIN:
        pytest.fail("TRAJLAKE_BIN is not set: build the binary and name it")
    lake, file = tmp_path / "lake", tmp_path / "rows.jsonl"
    want = list(rows(3000, SEED))
    file.write_text("".join(json.dumps(x) + "\n" for x in want))
    r, killed = random.Random(SEED), 0
    for _ in range(8):
        p = subprocess.Popen([BIN, "import", "--lake", lake, "--json", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            p.wait(r.uniform(0.02, 0.6))
        except subprocess.TimeoutExpired:
            killed += 1
            p.kill()
            p.wait()
    out = json.loads(run("import", "--lake", lake, "--json", file))
    assert out["committed"] + out["duplicates"] == len(want), out
    ids = [json.loads(x)["trajectory_id"] for x in run("ids", "--lake", lake, "--json").splitlines()]
    assert len(ids) == len(set(ids)) == len(want)
    assert json.loads(run("verify", "--deep", "--lake", lake, "--json"))["ok"]
    assert killed > 0, f"no import was killed in the middle (seed {SEED})"
