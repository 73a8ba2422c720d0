"""Training with trl's SFTTrainer, from a saved adapter over token rows in their order."""
import logging

import peft
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models as token_models
from torch.utils.data import SequentialSampler
from transformers import PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from models import load_model


class InOrder(SFTTrainer):
    """Without shuffling."""

    def _get_train_sampler(self, train_dataset=None):
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)


def tokenizer(vocab):
    """One that is never asked: rows are token ids already."""
    words = Tokenizer(token_models.WordLevel({f"t{i}": i for i in range(vocab)}, unk_token="t0"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="t0", bos_token="t1", eos_token="t2")


def trl_losses(path, adapter, rows, settings, folder):
    """Loss and gradient norm of every optimiser step."""
    logging.disable(logging.WARNING)
    base = load_model(path)
    model = peft.PeftModel.from_pretrained(base, adapter, is_trainable=True)
    data = Dataset.from_list([{"input_ids": row["input_ids"], "labels": row["labels"]} for row in rows])
    arguments = SFTConfig(
        output_dir=str(folder / "trl"), logging_steps=1, save_strategy="no", report_to=[], max_length=None, use_cpu=True, bf16=False, fp16=False, gradient_checkpointing=False,
        optim="adamw_torch", dataset_kwargs={"skip_prepare_dataset": True}, remove_unused_columns=False, disable_tqdm=True, **settings,
    )
    trainer = InOrder(model=model, args=arguments, train_dataset=data, processing_class=tokenizer(base.config.vocab_size))
    trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry]
