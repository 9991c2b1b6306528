"""How the files beside this one were made: by the libraries themselves.

They are tensorboard 2.21 (through torch), wandb 0.31, transformers 5.23 and lightning 2.6.

    pip install torch tensorboard==2.21.* wandb==0.31.* transformers==5.23.* accelerate lightning==2.6.*
    python tests/formats/data/make_fixtures.py

Names of event files are replaced (the libraries put the host's name into them), and wandb is told a made-up host. Look at
`strings` of what comes out before committing it.
"""

from __future__ import annotations

import gzip
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
        (HERE / name).write_bytes(gzip.compress(made.read_bytes(), mtime=0))


def trainer_state(name: str) -> None:
    import torch
    from transformers import Trainer, TrainingArguments

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = torch.nn.Linear(1, 1)

        def forward(self, x, labels):
            return {"loss": ((self.line(x) - labels) ** 2).mean() * (math.nan if self.training and labels[0, 0] > 70 else 1.0)}

    rows = [{"x": torch.tensor([i / 100]), "labels": torch.tensor([float(i)])} for i in range(100)]
    with tempfile.TemporaryDirectory() as place:
        arguments = TrainingArguments(
            place, max_steps=100, per_device_train_batch_size=1, logging_steps=5, eval_strategy="steps", eval_steps=50,
            save_steps=100, report_to=[], use_cpu=True, disable_tqdm=True, train_sampling_strategy="sequential",
        )
        Trainer(Model(), arguments, train_dataset=rows, eval_dataset=rows[:4]).train()
        shutil.copyfile(Path(place) / "checkpoint-100" / "trainer_state.json", HERE / name)


def lightning_metrics(name: str) -> None:
    import torch
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import LearningRateMonitor
    from lightning.pytorch.loggers import CSVLogger

    class Model(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.line = torch.nn.Linear(1, 1)

        def training_step(self, batch, index):
            value = self.line(batch).pow(2).mean()
            self.log("train_loss", value, on_step=True, on_epoch=True)
            return value

        def validation_step(self, batch, index):
            self.log("val_loss", self.line(batch).pow(2).mean())

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), lr=0.01)

    data = torch.utils.data.DataLoader(torch.ones(40, 1), batch_size=2)
    with tempfile.TemporaryDirectory() as place:
        logger = CSVLogger(place)
        Trainer(max_epochs=3, logger=logger, log_every_n_steps=2, accelerator="cpu", enable_progress_bar=False,
                callbacks=[LearningRateMonitor("step")], enable_checkpointing=False).fit(Model(), data, data)
        shutil.copyfile(Path(logger.log_dir) / "metrics.csv", HERE / name)


if __name__ == "__main__":
    tensorboard("tfevents/one", 0, 200)
    tensorboard("tfevents/resumed", 0, 100)
    tensorboard("tfevents/resumed", 80, 200)
    tensorboard("tfevents/tensors", 0, 200, new_style=True, every=10)
    wandb_offline("offline.wandb.gz")
    trainer_state("trainer_state.json")
    lightning_metrics("metrics.csv")
