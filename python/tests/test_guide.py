"""The Python in docs/guides/trainer.md, run from top to bottom."""

import json
import pathlib
import re
import subprocess
import sys

import pytest
from conftest import row

GUIDE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "guides" / "trainer.md"
TORCH = "## PyTorch\n"


def blocks(text, server, tmp_path):
    """The blocks of Python, with this test's server and folder; each keeps its line numbers."""
    for m in re.finditer(r"^```python\n(.*?)^```", text, re.M | re.S):
        code = m.group(1).replace("127.0.0.1:7400", server.addr).replace("/var/spool/rollouts", str(tmp_path / "spool"))
        yield "\n" * text[: m.start(1)].count("\n") + code


def test_guide(server, lake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lake.append([row(i, policy_version_min=3, policy_version_max=3) for i in range(100)])
    text = GUIDE.read_text()
    names = {}
    ran = 0
    for code in blocks(text[: text.index(TORCH)], server, tmp_path):
        exec(compile(code, str(GUIDE), "exec"), names)
        ran += 1
    assert ran >= 15
    steps = [r["step"] for r in lake.ledger(run="r1") if r["kind"] == "consumed"]
    assert steps == list(range(6))
    names["lake"].close()


def test_guide_torch(server, lake, tmp_path):
    pytest.importorskip("torch", reason="NOT RUN: there is no PyTorch here; make interop has it")
    lake.append([row(i) for i in range(100)])
    lake.create_stream("mix-a", {"where": "reward is not null", "batch": {"rows": 8}})
    text = GUIDE.read_text()
    (code,) = blocks(text[text.index(TORCH) :], server, tmp_path)
    script = tmp_path / "guide.py"
    script.write_text(f"import sys\nsys.path[:] = {sys.path!r}\nif __name__ == '__main__':\n" + "".join(f"    {line}\n" for line in code.strip().splitlines()))
    r = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert r.returncode == 0, r.stderr[-3000:]
    assert [r["step"] for r in lake.ledger(run="torch-1") if r["kind"] == "consumed"] == list(range(5))
