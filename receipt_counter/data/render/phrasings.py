"""The ways in which people ask. {receipt} becomes "the receipt" or, among several, "the receipt from STORE"."""

from __future__ import annotations

COUNTING = (
    "How many receipts do you see?",
    "How many receipts are there?",
    "How many receipts are in this photo?",
    "Count the receipts in this photo.",
    "What is the number of receipts?",
    "Please count the receipts.",
    "How many receipts does this photo show?",
    "Can you tell me how many receipts there are?",
    "Tell me the number of receipts in the picture.",
    "How many receipts can be seen here?",
    "What is the receipt count?",
    "How many separate receipts are visible?",
)
EXISTENCE = (
    "Is there a receipt in this photo?",
    "Do you see a receipt?",
    "Are there any receipts here?",
    "Does this photo show a receipt?",
    "Is a receipt visible?",
    "Can you see any receipt in the picture?",
    "Does the picture contain a receipt?",
    "Is there at least one receipt?",
    "Are any receipts in this photo?",
    "Is any receipt shown?",
    "Can a receipt be found in this photo?",
)

VALUE = {
    "total": (
        "What is the total of {receipt}?",
        "What is the total value of {receipt}?",
        "How much does {receipt} come to?",
        "What amount is {receipt} for?",
        "What is the amount due on {receipt}?",
        "Read the total of {receipt}.",
        "What total does {receipt} show?",
        "Please give me the total amount on {receipt}.",
        "What is the final amount on {receipt}?",
        "What sum is on {receipt}?",
    ),
    "tax": (
        "How much tax is on {receipt}?",
        "What is the tax amount on {receipt}?",
        "What tax does {receipt} show?",
        "Read the tax on {receipt}.",
    ),
    "subtotal": (
        "What is the subtotal of {receipt}?",
        "What is the amount before tax on {receipt}?",
        "Read the subtotal on {receipt}.",
    ),
    "tip": (
        "How much is the tip on {receipt}?",
        "What tip does {receipt} show?",
        "What is the tip on {receipt}?",
    ),
    "paid": (
        "How much cash was handed over according to {receipt}?",
        "How much cash does {receipt} show?",
        "What cash amount is on {receipt}?",
    ),
    "change": (
        "How much change was given according to {receipt}?",
        "What is the change on {receipt}?",
        "How much change does {receipt} show?",
    ),
    "price": (
        "How much does {item} cost on {receipt}?",
        "What is the price of {item} on {receipt}?",
        "What was paid for {item} on {receipt}?",
        "Read the price of {item} on {receipt}.",
    ),
    "sum": (
        "What is the total of all receipts together?",
        "How much do the receipts come to together?",
        "Add up the totals of the receipts.",
        "What do all receipts in this photo add up to?",
        "What is the total value of the receipts?",
    ),
}  # fmt: skip

DETAIL = {
    "store": (
        "Which store is {receipt} from?",
        "What is the name of the store on {receipt}?",
        "Who issued {receipt}?",
        "Which shop does {receipt} come from?",
    ),
    "date": (
        "What is the date on {receipt}?",
        "When was {receipt} issued?",
        "Which date does {receipt} show?",
        "Read the date on {receipt}.",
    ),
    "time": (
        "At what time was {receipt} issued?",
        "What is the time on {receipt}?",
        "Which time does {receipt} show?",
    ),
    "number": (
        "What is the number of {receipt}?",
        "Which receipt number is printed on {receipt}?",
        "Read the receipt number on {receipt}.",
    ),
    "payment": (
        "How was {receipt} paid?",
        "What is the means of payment on {receipt}?",
        "Which payment method does {receipt} show?",
    ),
    "city": (
        "In which town is the store of {receipt}?",
        "Which town is printed on {receipt}?",
        "What town does {receipt} name?",
    ),
    "items": (
        "How many different items are on {receipt}?",
        "How many different items does {receipt} list?",
        "Count the different items on {receipt}.",
    ),
    "quantity": (
        "How many of {item} are on {receipt}?",
        "What is the quantity of {item} on {receipt}?",
        "How many of {item} does {receipt} show?",
    ),
}  # fmt: skip

EDGE = {
    "thing": (
        "Is there {thing} in this photo?",
        "Do you see {thing}?",
        "Does this photo show {thing}?",
        "Is {thing} visible?",
        "Can you see {thing} in the picture?",
    ),
    "not a receipt": (
        "Is the {thing} a receipt?",
        "Does the {thing} count as a receipt?",
        "Can the {thing} be counted as a receipt?",
    ),
    "more than": (
        "Do you see more than {number}?",
        "Does this photo show more than {number}?",
        "Does the picture contain more than {number}?",
    ),
    "higher": (
        "Which receipt has the higher total?",
        "Which receipt is higher?",
        "Which of the two receipts is for more money?",
        "Which receipt shows the larger amount?",
    ),
    "no tip": VALUE["tip"],
    "other store": VALUE["total"],
    "no receipt": VALUE["total"] + VALUE["tax"] + DETAIL["store"] + DETAIL["date"] + DETAIL["payment"],
}  # fmt: skip


def phrasings() -> dict[str, tuple[str, ...]]:
    """Every phrasing of each question type."""
    by_kind = {"value": VALUE, "detail": DETAIL, "edge": EDGE}
    several = {
        name: tuple(dict.fromkeys(phrase for phrases in kinds.values() for phrase in phrases))
        for name, kinds in by_kind.items()
    }
    return {"counting": COUNTING, "existence": EXISTENCE, **several}
