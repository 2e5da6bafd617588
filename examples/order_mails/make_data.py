"""Write train.jsonl, validation.jsonl and heldout.jsonl: order mails and the JSON record each stands for.

The three files share no product, no way to order and no remark, so a held-out row is new in what is ordered
and in how it is put. Seeded: the same seed writes the same bytes.

    python examples/order_mails/make_data.py [FOLDER]
"""

from __future__ import annotations

import json
import random
import sys
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

SEED = 20
ROWS = {"train": 240, "validation": 24, "heldout": 32}

SYSTEM = 'Answer with one line of JSON: {"product": string, "quantity": integer, "urgent": boolean}'

QUALITIES = """
red blue green black white grey yellow brown oak pine steel copper brass glass cotton linen wool leather
plastic rubber large small long short wide narrow heavy light folding wooden round square padded plain
""".split()


class Wording(NamedTuple):
    """What one file is made of; `calm` remarks say that there is time, or nothing about it."""

    nouns: list[str]
    orders: list[str]
    urgent: list[str]
    calm: list[str]


def combined(*parts: str) -> list[str]:
    """Every way to take one alternative (between bars) of each part."""
    return ["".join(taken) for taken in product(*(part.split("|") for part in parts))]


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
    urgent=[
        *combined(
            "We need them |Please deliver |I want this |They must be here |Can it come ",
            "today|tonight|right away|at once|within the hour|before noon|this morning|tomorrow at seven",
            ".",
        ),
        *combined("It is |This is |The order is ", "urgent|very urgent|a rush order|an emergency", ".|!"),
        *combined(
            "Please hurry|Top priority|As soon as possible|Express delivery|Without delay", ".|, please."
        ),
        *combined("We cannot wait|Work has stopped here|The matter is pressing|We are out of time", ".|!"),
    ],
    calm=[
        *combined(
            "We need them |Please deliver |I want this |They may be here |Can it come ",
            "next month|in some weeks|in spring|some day in May|next quarter|when you can|later this year",
            ".",
        ),
        *combined("There is |We have ", "no hurry|plenty of time|no deadline|no rush at all", "."),
        *combined("It can wait|Take your time|This is not urgent|Normal delivery is fine", ".|, of course."),
        *combined("Thank you|Thanks|Thanks a lot|Thank you very much", ".|!| and have a good day."),
        *combined("Kind regards, |Greetings, |Yours, |Sincerely, ", "Anna|Peter|Maria|Ali|Chen|Olga"),
        *combined(
            "Please |Do ", "send the bill as usual|pack them well|use the back door|tell me the price", "."
        ),
        *combined("We pay |We will pay ", "on delivery|by card|in advance|as always", "."),
        *[""] * 20,
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
    urgent=["We need them immediately.", "Please be quick, it is urgent.", "It has to arrive today."],
    calm=["There is enough time.", "Next month is early enough.", "Many thanks, Paul"],
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
    urgent=[
        "It is really urgent.",
        "We need them by tomorrow.",
        "Please send them immediately.",
        "This order is urgent, please hurry.",
        "Please ship today.",
    ],
    calm=[
        "No hurry with this one.",
        "Any time next month will do.",
        "It is not urgent.",
        "Many thanks in advance.",
        "Best regards, Tom",
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
        urgent = rng.random() < 0.5
        remark = rng.choice(wording.urgent if urgent else wording.calm)
        mail = f"{order.format(n=quantity, p=item)} {remark}".rstrip()
        record = {"product": item, "quantity": quantity, "urgent": urgent}
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
