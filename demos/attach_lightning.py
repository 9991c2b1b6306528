"""A Lightning module with one callback of tuimon in it. While it runs, in another terminal: tuimon watch."""

import sys

import lightning.pytorch as pl
import torch
from torch.nn.functional import cross_entropy

import tuimon
from tuimon.demo import GPTModel, SimpleTextDataset, create_dataloader, create_model_config, create_tokenizer
from tuimon.demo.corpus import read_text

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 150


class LanguageModel(pl.LightningModule):
    def __init__(self, vocab_size):
        super().__init__()
        self.gpt = GPTModel(**create_model_config("tiny", vocab_size=vocab_size))

    def training_step(self, batch):
        tokens, targets = batch
        return cross_entropy(self.gpt(tokens).flatten(0, 1), targets.flatten())

    def validation_step(self, batch):
        tokens, targets = batch
        self.log("val_loss", cross_entropy(self.gpt(tokens).flatten(0, 1), targets.flatten()), prog_bar=True)

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


torch.manual_seed(0)
text = read_text()
tokenizer = create_tokenizer(text)
model = LanguageModel(tokenizer.vocab_size)
training = create_dataloader(SimpleTextDataset(text[:-20_000], tokenizer), batch_size=6, steps=2 * steps)
validation = create_dataloader(SimpleTextDataset(text[-20_000:], tokenizer), batch_size=32, shuffle=False)

trainer = pl.Trainer(
    accelerator="cpu", max_epochs=1, accumulate_grad_batches=2, gradient_clip_val=1.0,
    val_check_interval=2 * max(1, steps // 4), logger=False, enable_checkpointing=False,
    callbacks=[tuimon.integrations.LightningCallback(name="lightning")],  # this one
)
trainer.fit(model, training, validation)
