"""What base and tuned model answer on held-out mails, by stock transformers and peft and nothing of ours."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BATCH = 32
LONGEST_ANSWER = 40


@dataclass(frozen=True)
class Answer:
    """One held-out mail: what was asked, what is right, what each model said."""

    mail: str
    expected: str
    base: str
    tuned: str


def right(answer: str, expected: str) -> bool:
    """Exact match: the answer is the expected record, of the same types, and nothing else."""
    try:
        said = json.loads(answer)
    except ValueError:
        return False
    return isinstance(said, dict) and _typed(said) == _typed(json.loads(expected))


def _typed(record: dict[str, Any]) -> dict[str, tuple[str, Any]]:
    """Values beside their types, since Python has 1 equal 1.0 and true."""
    return {name: (type(value).__name__, value) for name, value in record.items()}


def answers(model_dir: Path, adapter_dir: Path, heldout: Path) -> list[Answer]:
    """Both models' greedy answers, under the same zero-shot prompt that states the format."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = [json.loads(line)["messages"] for line in heldout.read_text(encoding="utf-8").splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(model_dir, padding_side="left")
    base = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, str(adapter_dir)).eval()
    prompts = [
        tokenizer.apply_chat_template(row[:-1], tokenize=False, add_generation_prompt=True) for row in rows
    ]

    def say() -> list[str]:
        said: list[str] = []
        for start in range(0, len(prompts), BATCH):
            some = prompts[start : start + BATCH]
            batch = tokenizer(some, return_tensors="pt", padding=True, add_special_tokens=False)
            with torch.inference_mode():
                out: Any = model.generate(
                    **batch,
                    max_new_tokens=LONGEST_ANSWER,
                    do_sample=False,
                    pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
                )
            width = batch["input_ids"].shape[1]
            said += [
                text.strip() for text in tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)
            ]
        return said

    with model.disable_adapter():
        before = say()
    after = say()
    return [
        Answer(row[-2]["content"], row[-1]["content"], said, tuned)
        for row, said, tuned in zip(rows, before, after, strict=True)
    ]


if __name__ == "__main__":
    import sys

    model_dir, adapter_dir, heldout = map(Path, sys.argv[1:])
    print(json.dumps([asdict(one) for one in answers(model_dir, adapter_dir, heldout)]))
