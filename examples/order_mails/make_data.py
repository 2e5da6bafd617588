"""Write train.jsonl, validation.jsonl and heldout.jsonl: order mails and the JSON record each stands for.

The three files share no product, no way to order and no remark, so a held-out row is new in what is ordered
and in how it is put. Seeded: the same seed writes the same bytes.

    python examples/order_mails/make_data.py [FOLDER]
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any, NamedTuple

SEED = 20
ROWS = {"train": 160, "validation": 16, "heldout": 32}

SYSTEM = 'Answer with one line of JSON: {"product": string, "quantity": integer, "day": weekday or null}'
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()

QUALITIES = """
red blue green black white grey yellow brown oak pine steel copper brass glass cotton linen wool leather
plastic rubber large small long short wide narrow heavy light folding wooden round square padded plain
""".split()


class Wording(NamedTuple):
    """What one file is made of: remarks about a day, and remarks that name none."""

    nouns: list[str]
    orders: list[str]
    dated: list[str]
    undated: list[str]


TRAIN = Wording(
    nouns="""
    lamps chairs desks shelves boxes bottles mugs plates bowls forks spoons towels pillows blankets curtains
    rugs hammers screws nails drills ladders buckets brushes ropes cables plugs gloves helmets jackets boots
    aprons notebooks pencils folders envelopes stamps labels bags crates barrels candles mirrors clocks vases
    frames
    """.split(),
    orders=[
        "Hello, please send us {n} {p}.",
        "We would like to order {n} {p}.",
        "Hi, could you ship {n} {p} to our office?",
        "Our stock is low: {n} {p}, please.",
        "I need {n} {p} for the new shop.",
        "Please put me down for {n} {p}.",
        "Can we get {n} {p} from you?",
        "Good morning, {n} {p} for the warehouse, please.",
        "Following our call, I confirm {n} {p}.",
        "Dear team, kindly deliver {n} {p}.",
        "May I buy {n} {p}?",
        "Order: {n} {p}.",
        "Thanks for the offer. We take {n} {p}.",
        "The customer wants {n} {p}.",
        "As every month, {n} {p} for our kitchen.",
        "We ran out of {p} and need {n} of them.",
        "About the {p}: we will take {n}.",
        "Do you have {p}? We need {n}.",
    ],
    dated=[
        "We need them on {d}.",
        "Please deliver by {d}.",
        "They must be here before {d}.",
        "Can it come on {d}?",
        "I want this until {d}.",
        "The shop opens on {d}, so please be in time.",
        "{d} is the last day for us.",
        "Our driver comes on {d}.",
    ],
    undated=[
        "There is no hurry.",
        "Take your time.",
        "Normal delivery is fine.",
        "Thank you very much.",
        "Kind regards, Anna",
        "Please send the bill as usual.",
        "We pay on delivery.",
        "",
    ],
)

VALIDATION = Wording(
    nouns="tables benches cups trays hooks hoses scissors scarves binders baskets".split(),
    orders=[
        "Hello, we want to buy {n} {p}.",
        "Please reserve {n} {p} for us.",
        "Our new branch needs {n} {p}.",
        "Regarding {p}: please send {n}.",
    ],
    dated=["It has to arrive on {d}.", "Please bring it by {d}.", "We will be there on {d}."],
    undated=["There is enough time.", "Whenever it suits you.", "Many thanks, Paul"],
)

HELDOUT = Wording(
    nouns="""
    stools cabinets kettles pans knives cushions wrenches shovels pipes tiles coats sandals pens posters
    """.split(),
    orders=[
        "Good day, I want to order {n} {p}.",
        "Could you please send {n} {p} to our store?",
        "We are looking for {n} {p}.",
        "Please add {n} {p} to our account.",
        "The school asks for {n} {p}.",
        "Hi there, {n} {p} for the workshop, please.",
        "Are {p} in stock? We would need {n}.",
    ],
    dated=[
        "Delivery on {d} would be best.",
        "We open again on {d}.",
        "Could they arrive by {d}?",
        "Please send them so that we have them on {d}.",
        "My colleague picks them up on {d}.",
    ],
    undated=[
        "No rush at all.",
        "Many thanks in advance.",
        "Best regards, Tom",
        "Tell me the price, please.",
        "",
    ],
)

WORDINGS = {"train": TRAIN, "validation": VALIDATION, "heldout": HELDOUT}


def rows(wording: Wording, count: int, rng: random.Random) -> list[dict[str, Any]]:
    """`count` chat rows, every mail another one; each noun and each order comes up about equally often."""
    made: dict[str, dict[str, Any]] = {}
    while len(made) < count:
        noun = wording.nouns[len(made) % len(wording.nouns)]
        order = wording.orders[len(made) % len(wording.orders)]
        item = f"{rng.choice(QUALITIES)} {noun}"
        quantity = rng.randint(2, 400) if rng.random() < 0.5 else rng.randint(2, 40)
        day = rng.choice(DAYS) if rng.random() < 0.6 else None
        remark = rng.choice(wording.dated if day else wording.undated).format(d=day)
        mail = f"{order.format(n=quantity, p=item)} {remark}".rstrip()
        record = {"product": item, "quantity": quantity, "day": day}
        made[mail] = {
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": mail},
                {"role": "assistant", "content": json.dumps(record)},
            ]
        }
    found = list(made.values())
    rng.shuffle(found)
    return found


def write(folder: Path, seed: int = SEED) -> None:
    """Write the three files into `folder`."""
    for name, wording in WORDINGS.items():
        rng = random.Random(f"{seed}/{name}")
        lines = [json.dumps(row) + "\n" for row in rows(wording, ROWS[name], rng)]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
