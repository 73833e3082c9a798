"""Guessing what kind of question a question is, from its wording.

The first rule that matches decides; "edge" is what none matches.

| type | rule | example |
|---|---|---|
| edge | compares: which of them is more, are there more or fewer than ... | Which receipt is for more money? |
| counting | how many, count, number of ... receipts | How many receipts do you see? |
| existence | a yes-or-no question about a, any, one or some receipt | Is there a receipt here? |
| value | an amount: total, tax, price, paid, change, how much | What is the total value? |
| detail | store, date, time, payment, items, number, address | Which shop is it from? |
"""

from __future__ import annotations

import re

_RULES = (
    ("edge", r"\b(more|fewer|less) than\b|\bwhich\b.*\b(higher|larger|lower|smaller|more|less|cheaper|most|least)\b"),
    (
        "counting",
        r"\bhow many (?!(different |kinds of )?(items|articles|things|products|of)\b)[^,]*\breceipts?\b"
        r"|\b(count|number|amount) (of )?((all|the|separate|different|visible) )*receipts\b"
        r"|\breceipt count\b|\bcount\b.*\breceipts\b",
    ),
    (
        "existence",
        r"^(please )?(tell me (if|whether)|is|are|do|does|can|could|has|have)\b.*"
        r"(\b(a|any|one|some)\b( \w+)? receipts?\b|\b(there|see|show|shows|contain|find) receipts?\b"
        r"|\breceipts? (here|visible|shown|present|at all)\b)",
    ),
    (
        "value",
        r"\b(total|sub-?total|sum|amount|value|tax|vat|gst|price|costs?|pay|change|cash|tip|due|how much|expensive"
        r"|(was|is|were|been) paid|add up|come to)\b",
    ),
    (
        "detail",
        r"\b(store|shop|company|merchant|restaurant|where|when|who|which|date|day|time|number|paid|payment|card|items?"
        r"|articles?|bought|address|town|city|name|quantity|how many)\b",
    ),
)
_COMPILED = [(kind, re.compile(rule, re.IGNORECASE)) for kind, rule in _RULES]


def guess_type(question: str) -> str:
    """The type of a question, one of `QUESTION_TYPES`."""
    return next((kind for kind, rule in _COMPILED if rule.search(question)), "edge")
