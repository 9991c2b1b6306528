"""A Hugging Face Trainer with one callback of tuimon in it. While it runs, in another terminal: tuimon watch."""

import os
import sys
import tempfile

import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the model is built here: nothing is downloaded
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

import tuimon
from tuimon.demo import SimpleTextDataset, create_tokenizer
from tuimon.demo.corpus import read_text

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 150
torch.manual_seed(0)

text = read_text()
tokenizer = create_tokenizer(text)
training, validation = (SimpleTextDataset(part, tokenizer) for part in (text[:-20_000], text[-20_000:]))
model = GPT2LMHeadModel(GPT2Config(
    vocab_size=tokenizer.vocab_size, n_positions=64, n_embd=64, n_layer=4, n_head=4,
    bos_token_id=None, eos_token_id=None,
))


def collate(windows):
    tokens = torch.stack([inputs for inputs, _ in windows])
    return {"input_ids": tokens, "labels": tokens}  # the model shifts them itself


trainer = Trainer(
    model,
    TrainingArguments(
        tempfile.mkdtemp(), max_steps=steps, per_device_train_batch_size=6, gradient_accumulation_steps=2,
        learning_rate=3e-3, lr_scheduler_type="cosine", warmup_steps=steps // 10, max_grad_norm=1.0,
        logging_steps=1, eval_strategy="steps", eval_steps=max(1, steps // 4), per_device_eval_batch_size=32,
        save_strategy="no", report_to="none", disable_tqdm=True, use_cpu=True, dataloader_pin_memory=False,
    ),
    train_dataset=training,
    eval_dataset=validation,
    data_collator=collate,
    callbacks=[tuimon.integrations.HFCallback(name="hf-trainer")],  # this one
)
trainer.train()
