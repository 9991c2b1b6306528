"""How the files beside this one were made: by the libraries themselves, tensorboard 2.21 (through torch) and wandb 0.31.

    pip install torch tensorboard==2.21.* wandb==0.31.*
    python tests/formats/data/make_fixtures.py

Names of event files are replaced (the libraries put the host's name into them), and wandb is told a made-up host. Look at
`strings` of what comes out before committing it.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def loss(step: int) -> float:
    return math.nan if step >= 180 else 2.0 + 3.0 * math.exp(-step / 40)


def tensorboard(folder: str, first: int, last: int, *, new_style: bool = False, every: int = 1) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with tempfile.TemporaryDirectory() as place:
        with SummaryWriter(place) as writer:
            writer.add_text("note", "a text is no scalar", 0)
            for step in range(first, last, every):
                writer.add_scalar("train/loss", loss(step), step, walltime=1e9 + step, new_style=new_style)
                writer.add_scalar("grad_norm", 1.0 + step / 1000, step, walltime=1e9 + step, new_style=new_style)
                if step % 50 == 0:
                    writer.add_scalar("val/loss", loss(step) + 0.1, step, walltime=1e9 + step, new_style=new_style)
        (made,) = os.listdir(place)
        (HERE / folder).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(place) / made, HERE / folder / f"events.out.tfevents.{1000000000 + first}.host.1.0")


def wandb_offline(name: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "HOME": place}
        import wandb

        settings = wandb.Settings(
            host="host", username="somebody", disable_git=True, disable_code=True, x_disable_stats=True, x_disable_meta=True,
            x_disable_machine_info=True, console="off", program="train.py", root_dir=place,
        )
        run = wandb.init(project="p", name="n", id="abcdefgh", dir=place, settings=settings)
        for step in range(200):
            row = {"train/loss": loss(step), "grad_norm": 1.0 + step / 1000, "note": "a text is no number", "ok": True}
            if step % 50 == 0:
                row["val/loss"] = loss(step) + 0.1
            if step % 10 == 0:
                row["layer_grad_norm"] = {"b0": 0.5 + step, "b1": 0.25}
            if step == 100:
                row["hist"] = wandb.Histogram([1.0, 2.0, 2.0])
            run.log(row)
        run.finish()
        (made,) = Path(place).glob("wandb/offline-run-*/*.wandb")
        os.chdir(HERE)
        shutil.copyfile(made, HERE / name)


if __name__ == "__main__":
    tensorboard("tfevents/one", 0, 200)
    tensorboard("tfevents/resumed", 0, 100)
    tensorboard("tfevents/resumed", 80, 200)
    tensorboard("tfevents/tensors", 0, 200, new_style=True, every=10)
    wandb_offline("offline.wandb")
