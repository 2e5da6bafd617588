"""What base and tuned model answer on held-out mails, by stock transformers and peft."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BATCH = 40
LONGEST_ANSWER = 48


@dataclass(frozen=True)
class Answer:
    """One held-out mail: what was asked, what is right, what each model said."""

    mail: str
    expected: str
    base: str
    tuned: str


def right(answer: str, expected: str) -> bool:
    """Exact match: the answer is the expected record and nothing else."""
    try:
        return bool(json.loads(answer) == json.loads(expected))
    except ValueError:
        return False


def answers(model_dir: Path, adapter_dir: Path, heldout: Path) -> list[Answer]:
    """Both models' greedy answers, under the same zero-shot prompt that states the format."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = [json.loads(line)["messages"] for line in heldout.read_text().splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(model_dir, padding_side="left")
    base = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.bfloat16).eval()
    prompts = [
        tokenizer.apply_chat_template(row[:-1], tokenize=False, add_generation_prompt=True) for row in rows
    ]

    def say(model: Any) -> list[str]:
        said: list[str] = []
        for start in range(0, len(prompts), BATCH):
            batch = tokenizer(
                prompts[start : start + BATCH], return_tensors="pt", padding=True, add_special_tokens=False
            )
            with torch.inference_mode():
                out = model.generate(
                    **batch,
                    max_new_tokens=LONGEST_ANSWER,
                    do_sample=False,
                    pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
                )
            width = batch["input_ids"].shape[1]
            said += [text.strip() for text in tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)]
        return said

    before = say(base)
    after = say(PeftModel.from_pretrained(base, adapter_dir).eval())
    return [
        Answer(row[-2]["content"], row[-1]["content"], said, tuned)
        for row, said, tuned in zip(rows, before, after, strict=True)
    ]


if __name__ == "__main__":
    import dataclasses
    import sys

    model, adapter, heldout = map(Path, sys.argv[1:])
    print(json.dumps([dataclasses.asdict(one) for one in answers(model, adapter, heldout)]))
