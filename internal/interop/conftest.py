"""Fixtures: a lake on a directory and one on S3, written by the binary."""

import json
import os
import pathlib
import random
import subprocess
import uuid

import pytest

BIN = os.environ.get("TRAJLAKE_BIN", "")


def run(*args, codes=(0,)):
    """Runs the binary and returns its standard output."""
    r = subprocess.run([BIN, *map(str, args)], capture_output=True, text=True, timeout=300)
    assert r.returncode in codes, f"{args}: exit {r.returncode}: {r.stderr}"
    return r.stdout


def rows(n, seed):
    """n native trajectories with nesting, nulls, maps and tensors."""
    r = random.Random(seed)
    for i in range(n):
        tokens = r.randrange(1, 60)
        row = {
            "trajectory_id": f"e-{seed}-{i}",
            "task_set": r.choice(["math", "code", "web"]),
            "task_id": f"t{i % 7}",
            "effort": r.choice(["none", "low", "high", "max"]),
            "reward": r.choice([None, 0.0, 0.25, 1.0]),
            "success": r.choice([None, True, False]),
            "started_at": "2026-03-01T12:00:00.123456Z",
            "tool_kinds": r.choice([[], ["shell"], ["shell", "file"]]),
            "metadata": r.choice([{}, {"k": "v"}, {"a": "1", "b": "ü"}]),
            "turns": [
                {"role": "user", "text": "hello \u8f68\u8ff9"},
                {
                    "role": "assistant",
                    "sampled": True,
                    "thinking": "hm",
                    "tool_calls": [{"name": "sh", "args_raw": "{}", "result": "ok", "result_status": "ok"}] * (i % 3),
                },
            ],
            "token_ids": [r.randrange(150000) for _ in range(tokens)],
            "loss_mask": [r.randrange(2) for _ in range(tokens)],
            "logprobs": [-r.random() for _ in range(tokens)],
        }
        yield {k: v for k, v in row.items() if v is not None}


def fill(url, tmp_path, commits):
    """Imports `commits` small files one by one and returns what was handed in, by id."""
    want = {}
    for c in range(commits):
        path = tmp_path / f"{c}.jsonl"
        part = list(rows(5, c))
        want.update({x["trajectory_id"]: x for x in part})
        path.write_text("".join(json.dumps(x) + "\n" for x in part))
        out = json.loads(run("import", "--lake", url, "--json", path))
        assert out["committed"] == 5, out
    return want


@pytest.fixture(params=["dir", "s3"])
def place(request, tmp_path):
    """(lake URL, table URI of deltalake, storage options) on a directory or on S3."""
    if not BIN:
        pytest.fail("TRAJLAKE_BIN is not set: build the binary and name it")
    if request.param == "dir":
        lake = tmp_path / "lake"
        return str(lake), str(lake / "trajectories"), None
    s3 = os.environ.get("TRAJLAKE_TEST_S3")
    if not s3:
        pytest.skip("NOT RUN: TRAJLAKE_TEST_S3 is not set")
    base, query = s3.split("?", 1)
    prefix = f"{base}/interop-{uuid.uuid4().hex[:8]}"
    endpoint = query.removeprefix("endpoint=")
    options = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": os.environ["AWS_SECRET_ACCESS_KEY"],
        "AWS_REGION": os.environ["AWS_REGION"],
        "AWS_ALLOW_HTTP": "true",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
    }
    return f"{prefix}?{query}", f"{prefix}/trajectories", options
