"""Several ranks, each with the same one line of tuimon in it: one run with a row for each of them (key W).

    torchrun --nproc-per-node 2 demos/torchrun_ranks.py

On the CPU it talks over gloo, on GPUs over NCCL; with --sharded the parameters are shared out (FSDP2) and not copied.
While it runs, in another terminal: tuimon watch.
"""

import argparse
import os

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

import tuimon
from tuimon.demo import GPTModel, SimpleTextDataset, create_dataloader, create_model_config, create_tokenizer
from tuimon.demo.corpus import read_text

options = argparse.ArgumentParser()
options.add_argument("steps", type=int, nargs="?", default=300)
options.add_argument("--sharded", action="store_true", help="fully_shard instead of DistributedDataParallel")
args = options.parse_args()

on_gpu = torch.cuda.is_available()
device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpu else torch.device("cpu")
if on_gpu:
    torch.cuda.set_device(device)
dist.init_process_group("nccl" if on_gpu else "gloo")

torch.manual_seed(0)   # the same weights on every rank
text = read_text()
tokenizer = create_tokenizer(text)
model = GPTModel(**create_model_config("tiny", vocab_size=tokenizer.vocab_size)).to(device)
if args.sharded:
    fully_shard(model)
else:
    model = DistributedDataParallel(model)
torch.manual_seed(1 + dist.get_rank())   # and other batches
loader = create_dataloader(SimpleTextDataset(text, tokenizer), batch_size=12, steps=args.steps)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)

# On every rank, after wrapping. Nothing is sent between ranks for what it measures.
monitor = tuimon.attach(model, optimizer, total_steps=args.steps, name="torchrun-ranks")

for tokens, targets in loader:
    loss = cross_entropy(model(tokens.to(device)).flatten(0, 1), targets.to(device).flatten())
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()

if dist.get_rank() == 0:
    print(f"{dist.get_world_size()} ranks recorded in {monitor.run_dir}")
monitor.close()
dist.destroy_process_group()
