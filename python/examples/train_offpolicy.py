"""Off-policy training on a lake, with kill and resume: an importance-weighted policy gradient for a tiny model.

The rows are rollouts of older policies, with the log-probabilities under which they were sampled. A step
takes a batch of whole groups; each token's gradient is weighted by

    min(π(token) / μ(token), CLIP) · (reward − mean of its group) / std of its group · row_weight · importance_weight

where π is the policy that is trained and μ the one that sampled. The trainer acknowledges every batch and
saves its weights together with the stream's state: one that is killed and started again ends with the same
weights, bit by bit, and the ledger has every step once.

    TRAJLAKE_SERVER=127.0.0.1:7400 python train_offpolicy.py --state run.json --run r1 [--kill-at 20] [--torch]
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import trajlake

TASKS, VOCABULARY, LENGTH = 6, 8, 4  # a task is a prompt of one token; the model answers with LENGTH tokens
GROUPS, SIZE, POLICIES = 8, 4, 4  # groups of each task and old policy, rollouts of a group
RATE, CLIP = 4.0, 2.0
STREAM = "offpolicy"
SPEC = {
    "snapshot": "pinned",  # a live stream would take in what is appended meanwhile
    "where": "task_set = 'tiny-offpolicy' and reward is not null",
    "require": {"columns": ["token_ids", "logprobs"]},
    "unit": "group",
    "group": {"size": SIZE, "zero_variance": "drop"},
    "batch": {"rows": 8},
    "columns": ["token_ids", "loss_mask", "logprobs"],
    "seed": 11,
}
COLUMNS = ("reward", "group_reward_mean", "group_reward_std", "row_weight", "importance_weight")


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis; the same shape, float64."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def wanted(task: int) -> int:
    """The token that is rewarded for a task."""
    return (3 * task + 1) % VOCABULARY


def expected_reward(weights: np.ndarray) -> float:
    """Mean reward of the policy, over tasks: computed, not sampled."""
    p = np.exp(log_softmax(weights))
    return float(np.mean([p[t, wanted(t)] for t in range(TASKS)]))


def rollouts() -> Iterator[dict[str, Any]]:
    """Trajectories of POLICIES old policies, the same on every call."""
    random = np.random.default_rng(5)
    for version in range(POLICIES):
        policy = log_softmax(random.normal(0, 0.5, (TASKS, VOCABULARY)))
        for task in range(TASKS):
            for g in range(GROUPS):
                for i in range(SIZE):
                    answer = random.choice(VOCABULARY, LENGTH, p=np.exp(policy[task]))
                    group = f"tiny-{version}-{task}-{g}"
                    yield {
                        "trajectory_id": f"{group}-{i}",
                        "task_set": "tiny-offpolicy",
                        "task_id": f"task-{task}",
                        "group_id": group,
                        "group_index": i,
                        "group_size": SIZE,
                        "policy_version_min": version,
                        "policy_version_max": version,
                        "reward": float(np.mean(answer == wanted(task))),
                        "token_ids": np.concatenate([[VOCABULARY + task], answer]).astype(np.int32),
                        "loss_mask": np.array([0] + [1] * LENGTH, np.int8),
                        "logprobs": np.concatenate([[0.0], policy[task, answer]]).astype(np.float32),
                    }


class NumpyPolicy:
    """A softmax over the vocabulary for each task, and its policy gradient by hand."""

    def __init__(self, weights: np.ndarray) -> None:
        self.weights = weights  # float64, (TASKS, VOCABULARY)

    def update(self, batch: trajlake.Batch) -> None:
        """One step of gradient ascent on a batch."""
        tokens = batch.tensor("token_ids")
        row = np.repeat(np.arange(len(batch)), tokens.lengths)
        task = tokens.values[tokens.offsets[:-1]][row] - VOCABULARY
        sampled = batch.tensor("loss_mask").values == 1
        row, task, token = row[sampled], task[sampled], tokens.values[sampled]
        reward, mean, std, row_weight, importance = (batch.table[c].to_numpy() for c in COLUMNS)
        scale = (reward - mean) / (std + 1e-6) * row_weight * importance / row_weight.sum()
        log_pi = log_softmax(self.weights)
        ratio = np.minimum(np.exp(log_pi[task, token] - batch.tensor("logprobs").values[sampled]), CLIP)
        gradient = np.zeros_like(self.weights)
        np.add.at(gradient, (task, token), ratio * scale[row])
        np.add.at(gradient, task, -(ratio * scale[row])[:, None] * np.exp(log_pi[task]))
        self.weights = self.weights + RATE * gradient


class TorchPolicy:
    """The same with autograd, from the dicts of tensors that a loader gives."""

    def __init__(self, weights: np.ndarray) -> None:
        import torch

        torch.set_num_threads(1)
        self.parameter = torch.tensor(weights, requires_grad=True)
        self.optimiser = torch.optim.SGD([self.parameter], lr=RATE, maximize=True)

    @property
    def weights(self) -> np.ndarray:
        return self.parameter.detach().numpy()

    def update(self, batch: dict[str, Any]) -> None:
        """One step of gradient ascent on a batch."""
        import torch

        offsets = batch["token_ids_offsets"].long()
        row = torch.repeat_interleave(torch.arange(len(offsets) - 1), offsets.diff())
        task = batch["token_ids"].long()[offsets[:-1]][row] - VOCABULARY
        sampled = batch["loss_mask"] == 1
        row, task, token = row[sampled], task[sampled], batch["token_ids"].long()[sampled]
        reward, mean, std, row_weight, importance = (batch[c].double() for c in COLUMNS)
        scale = (reward - mean) / (std + 1e-6) * row_weight * importance / row_weight.sum()
        log_pi = torch.log_softmax(self.parameter, -1)[task, token]
        ratio = (log_pi.detach() - batch["logprobs"][sampled]).exp().clamp(max=CLIP)
        self.optimiser.zero_grad()
        (ratio * scale[row] * log_pi).sum().backward()
        self.optimiser.step()


def save(path: pathlib.Path, state: dict[str, Any]) -> None:
    """All of the state or the one before, whenever the process dies."""
    new = path.with_suffix(".new")
    with open(new, "w") as f:
        json.dump(state, f)
        f.flush()
        os.fsync(f.fileno())
    os.replace(new, path)


def prepare() -> None:
    """The rows and the stream, once: doing it again changes nothing."""
    with trajlake.connect() as lake:
        lake.append(rollouts())
        lake.create_stream(STREAM, SPEC)


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--state", type=pathlib.Path, required=True, help="file of the checkpoint; is there: go on from it")
    args.add_argument("--run", default="r1")
    args.add_argument("--steps", type=int, default=60)
    args.add_argument("--kill-at", type=int, default=-1, help="die in this step, after the ack and before the checkpoint")
    args.add_argument("--torch", action="store_true", help="PyTorch, batches drawn by two loader workers")
    args.add_argument("--prepare", action="store_true", help="append the rollouts, create the stream, and end")
    a = args.parse_args()
    if a.prepare:
        prepare()
        return
    saved = json.loads(a.state.read_text()) if a.state.exists() else {"step": 0, "weights": np.zeros((TASKS, VOCABULARY)).tolist()}
    weights = np.array(saved["weights"])
    source: Any
    if a.torch:
        from trajlake.torch import ReplayDataset

        source, policy = ReplayDataset(None, STREAM, run=a.run, rank=0, world_size=1), TorchPolicy(weights)
    else:
        source, policy = trajlake.connect().replay(STREAM, run=a.run), NumpyPolicy(weights)
    if "stream" in saved:
        source.load_state_dict(saved["stream"])
    print(f"step {saved['step']}: expected reward {expected_reward(weights):.3f}", flush=True)
    step = saved["step"]
    for batch in source.loader(num_workers=2) if a.torch else source:
        policy.update(batch)
        source.ack(batch, step, policy_version=POLICIES + step)
        if step == a.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        step += 1
        save(a.state, {"step": step, "weights": policy.weights.tolist(), "stream": source.state_dict()})
        if step >= a.steps:
            break
    print(f"step {step}: expected reward {expected_reward(policy.weights):.3f}")


if __name__ == "__main__":
    main()
