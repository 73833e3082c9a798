"""How receipts look: every style puts the facts of one receipt on a sheet, and marks which fact is written where.

The marks (`Text.fact`) decide what may be asked: store, street, city, date, time, number, payment, total, subtotal,
tax, tip, paid, change, and for each item "name 0", "item 0" (its amount), "quantity 0". Whatever a style leaves out,
what it prints adds up: items, tax where it is not in the prices, and tip make the total.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from receipt_counter.data.render.facts import Receipt
from receipt_counter.data.render.paper import BLACK, Block, Colour, Column, Sheet
from receipt_counter.data.render.vocabulary import THANKS

Style = Callable[[np.random.Generator, Receipt], Sheet]

_MONO = (("plex", "plex_bold"), ("space", "space_bold"), ("dm", "dm_bold"))
_WHITE_PAPERS: tuple[Colour, ...] = ((250, 249, 245), (244, 243, 240), (238, 238, 240), (252, 250, 240))
_TINTED_PAPERS: tuple[Colour, ...] = ((250, 243, 205), (246, 226, 224), (228, 240, 226), (224, 234, 246))
_INKS: tuple[Colour, ...] = (BLACK, (52, 50, 74), (72, 68, 68))
_PENS: tuple[Colour, ...] = ((28, 44, 130), (30, 30, 36), (24, 60, 110))


def draw_sheet(rng: np.random.Generator, receipt: Receipt) -> Sheet:
    """Put a receipt on paper, in a style that shops of its kind use."""
    styles = STYLES[receipt.kind]
    return styles[int(rng.integers(len(styles)))](rng, receipt)


def till_roll(rng: np.random.Generator, receipt: Receipt) -> Sheet:
    """A supermarket's strip: everything on it, narrow, torn off."""
    column = _mono(rng)
    upper = bool(rng.random() < 0.5)
    column.line(receipt.store, "centre", size=(1.15, 1.3, 1.5)[int(rng.integers(3))], strong=True, fact="store")
    column.line(receipt.street, "centre", fact="street")
    column.line(receipt.city, "centre", fact="city")
    if rng.random() < 0.5:
        column.line(f"Tel {receipt.phone}", "centre")
    column.rule()
    column.pair(receipt.date, receipt.time, fact="time", left_fact="date")
    column.line(f"Receipt {receipt.number}", fact="number")
    column.rule()
    _items(column, receipt, upper)
    column.rule()
    _sums(column, receipt)
    _payment(column, receipt)
    column.gap(0.4)
    column.line(THANKS[int(rng.integers(len(THANKS)))], "centre")
    sheet = column.sheet(_white(rng), "zigzag" if rng.random() < 0.6 else "straight")
    return _with_barcode(rng, sheet) if rng.random() < 0.3 else sheet


def slip(rng: np.random.Generator, receipt: Receipt) -> Sheet:
    """A short slip: shop, date, items, total."""
    column = _mono(rng)
    column.line(receipt.store, "centre", size=1.2, strong=True, fact="store")
    column.line(receipt.city, "centre", fact="city")
    column.line(f"{receipt.date} {receipt.time}", "centre", fact="date")
    column.rule()
    _items(column, receipt, upper=False)
    column.rule()
    _added(column, receipt)
    column.pair("TOTAL", receipt.currency.write(receipt.total), size=1.2, strong=True, fact="total")
    column.pair("Paid by", receipt.payment, fact="payment")
    return column.sheet(_white(rng), "zigzag" if rng.random() < 0.4 else "straight")


def restaurant_bill(rng: np.random.Generator, receipt: Receipt) -> Sheet:
    """A bill from a table: clerk, items, subtotal, tip."""
    column = _mono(rng)
    column.line(receipt.store, "centre", size=1.4, strong=True, fact="store")
    column.line(f"{receipt.street}, {receipt.city}", "centre", fact="city")
    column.gap(0.4)
    column.pair(f"Table {int(rng.integers(1, 40))}", f"Server {receipt.clerk}")
    column.pair(receipt.date, receipt.time, fact="time", left_fact="date")
    column.rule()
    _items(column, receipt, upper=False)
    column.rule()
    _sums(column, receipt)
    _payment(column, receipt)
    column.gap(0.4)
    column.line(THANKS[int(rng.integers(len(THANKS)))], "centre")
    return column.sheet(_white(rng))


def fuel_slip(rng: np.random.Generator, receipt: Receipt) -> Sheet:
    """A filling station's slip: pump, litres, price per litre."""
    column = _mono(rng)
    column.line(receipt.store, size=1.2, strong=True, fact="store")
    column.line(receipt.street, fact="street")
    column.line(receipt.city, fact="city")
    column.gap(0.3)
    column.pair(receipt.date, receipt.time, fact="time", left_fact="date")
    column.pair("Pump", str(int(rng.integers(1, 13))))
    column.rule()
    _items(column, receipt, upper=True)
    column.rule()
    _sums(column, receipt)
    _payment(column, receipt)
    paper = _TINTED_PAPERS[0] if rng.random() < 0.3 else _white(rng)
    return column.sheet(paper, "zigzag" if rng.random() < 0.5 else "straight")


def taxi_slip(rng: np.random.Generator, receipt: Receipt) -> Sheet:
    """A taxi meter's print-out: little of everything, large type."""
    column = _mono(rng)
    column.line(receipt.store, "centre", size=1.3, strong=True, fact="store")
    column.line("TAXI RECEIPT", "centre")
    column.pair("Cab", str(int(rng.integers(100, 999))))
    column.pair("Date", receipt.date, fact="date")
    column.pair("Time", receipt.time, fact="time")
    column.pair("Km", f"{float(rng.uniform(2, 38)):.1f}")
    _items(column, receipt, upper=False)
    _added(column, receipt)
    column.rule()
    column.pair("TOTAL", receipt.currency.write(receipt.total), size=1.25, strong=True, fact="total")
    column.pair("Payment", receipt.payment, fact="payment")
    return column.sheet(_TINTED_PAPERS[0] if rng.random() < 0.4 else _white(rng))


def invoice(rng: np.random.Generator, receipt: Receipt) -> Sheet:
    """A printed form, paid: letterhead, a table of items, a strong total."""
    brand: Colour = ((30, 70, 120), (120, 36, 40), (34, 96, 70), (60, 60, 66))[int(rng.integers(4))]
    column = Column("sans", "sans_bold", margin=1.8)
    column.gap(0.8)
    column.pair(receipt.store, "RECEIPT", size=1.6, strong=True, left_fact="store")
    column.line(f"{receipt.street}, {receipt.city}", fact="city")
    column.gap(0.5)
    column.pair(f"No. {receipt.number}", receipt.date, fact="date", left_fact="number")
    column.rule(0.12)
    column.pair("Description", "Amount", strong=True)
    column.rule()
    _items(column, receipt, upper=False)
    column.rule()
    _sums(column, receipt)
    _payment(column, receipt)
    sheet = column.sheet(_white(rng), least_width=19.0)
    band = Block(0, 0, sheet.width, 1.1, brand)
    return Sheet(sheet.width, sheet.height, sheet.face, sheet.paper, "straight", sheet.texts, (band, *sheet.blocks))


def handwritten(rng: np.random.Generator, receipt: Receipt) -> Sheet:
    """A slip from a receipt pad, filled in by hand."""
    ink = _PENS[int(rng.integers(len(_PENS)))]
    column = Column("pen", "pen_bold", ink, margin=1.5)
    column.line("CASH RECEIPT", "centre", size=1.2, strong=True)
    column.pair("Date", receipt.date, fact="date")
    column.pair("From", receipt.store, fact="store")
    column.rule(0.05)
    for position, item in enumerate(receipt.items):
        name = f"{item.quantity} x {item.name}" if item.quantity > 1 else item.name
        column.pair(name, receipt.currency.bare(item.amount), fact=f"item {position}", left_fact=f"quantity {position}")
        column.rule(0.05)
    _added(column, receipt)
    column.pair("Total", receipt.currency.write(receipt.total), size=1.3, strong=True, fact="total")
    column.pair("Paid by", receipt.payment, fact="payment")
    tinted = _TINTED_PAPERS[int(rng.integers(len(_TINTED_PAPERS)))]
    return column.sheet(tinted if rng.random() < 0.6 else _white(rng), least_width=13.0)


STYLES: dict[str, tuple[Style, ...]] = {
    "grocery": (till_roll, till_roll, slip),
    "cafe": (slip, till_roll, handwritten),
    "restaurant": (restaurant_bill, restaurant_bill, slip),
    "hardware": (till_roll, invoice, slip),
    "pharmacy": (till_roll, slip),
    "stationer": (till_roll, slip, handwritten),
    "fuel": (fuel_slip,),
    "taxi": (taxi_slip,),
    "services": (invoice, handwritten),
}


def _mono(rng: np.random.Generator) -> Column:
    face, bold = _MONO[int(rng.integers(len(_MONO)))]
    return Column(face, bold, _INKS[int(rng.integers(len(_INKS)))], margin=float(rng.uniform(0.9, 1.6)))


def _white(rng: np.random.Generator) -> Colour:
    return _WHITE_PAPERS[int(rng.integers(len(_WHITE_PAPERS)))]


def _items(column: Column, receipt: Receipt, upper: bool) -> None:
    """A line an item; what was bought more than once shows its number and the price of one below."""
    for position, item in enumerate(receipt.items):
        name = item.name.upper() if upper else item.name
        amount = receipt.currency.bare(item.amount)
        column.pair(name, amount, fact=f"item {position}", left_fact=f"name {position}")
        if item.quantity > 1:
            column.line(f"  {item.quantity} x {receipt.currency.bare(item.price)}", fact=f"quantity {position}")


def _sums(column: Column, receipt: Receipt) -> None:
    """Subtotal and tax where they are added, tip, total; tax after the total where it is included."""
    currency = receipt.currency
    if not currency.included:
        column.pair("Subtotal", currency.write(receipt.goods), fact="subtotal")
    _added(column, receipt)
    column.pair("TOTAL", currency.write(receipt.total), size=1.3, strong=True, fact="total")
    if currency.included:
        column.pair(f"incl. {receipt.tax_label}", currency.write(receipt.tax), fact="tax")


def _added(column: Column, receipt: Receipt) -> None:
    """What comes on top of the items."""
    currency = receipt.currency
    if not currency.included:
        column.pair(receipt.tax_label, currency.write(receipt.tax), fact="tax")
    if receipt.tip:
        column.pair("Tip", currency.write(receipt.tip), fact="tip")


def _payment(column: Column, receipt: Receipt) -> None:
    currency = receipt.currency
    if receipt.payment == "cash":
        column.pair("Cash", currency.write(receipt.paid), fact="paid")
        column.pair("Change", currency.write(receipt.change), fact="change")
    else:
        column.pair("Paid by", receipt.payment, fact="payment")


def _with_barcode(rng: np.random.Generator, sheet: Sheet) -> Sheet:
    height, width = 2.2, min(sheet.width * 0.7, 14.0)
    steps = rng.integers(1, 4, (int(width / 0.4), 2)) * 0.1  # a bar and the gap behind it, 0.1 to 0.3 ems each
    starts = (sheet.width - width) / 2 + np.concatenate(([0.0], np.cumsum(steps.sum(axis=1))[:-1]))
    end = (sheet.width + width) / 2
    bars = [
        Block(x, sheet.height - 1.0, thick, height)
        for x, thick in zip(starts.tolist(), steps[:, 0].tolist(), strict=True)
        if x + thick <= end
    ]
    return Sheet(
        sheet.width, sheet.height + height, sheet.face, sheet.paper, sheet.edge, sheet.texts, (*sheet.blocks, *bars)
    )
