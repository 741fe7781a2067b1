"""A trainer's loop over a lake: ten reproducible batches, read without copying.

Run with TRAJLAKE_SERVER set to the address that `trajlake serve` printed.
"""

import numpy as np

import trajlake

SPEC = {
    "where": "len(token_ids) > 0",
    "weight": "uniform",
    "batch": {"rows": 32},
    "columns": ["token_ids", "loss_mask", "logprobs", "reward", "effort"],
    "seed": 7,
}
STEPS = 10


def main() -> None:
    lake = trajlake.connect()
    if lake.stats()["trajectories"] == 0:
        print("the lake is empty")
        return
    try:
        batches = lake.replay(SPEC)
        for step, batch in zip(range(STEPS), batches):
            ids = batch.tensor("token_ids")  # .values is a view of the batch, .offsets are cu_seqlens
            mask = batch.tensor("loss_mask")
            lengths = np.diff(ids.offsets)
            trained = int(mask.values.astype(np.int64).sum())
            print(
                f"step {step}: {len(lengths)} rows, {len(ids.values)} tokens, {trained} of them trained, "
                f"longest {lengths.max()}, version {batch.version}, batch {batch.batch_id[:12]}"
            )
    except trajlake.TrajlakeError as err:
        if "no row" not in str(err) and "eligible" not in str(err):
            raise
        print(f"no batches: {err} (these trajectories carry no token ids)")


if __name__ == "__main__":
    main()
