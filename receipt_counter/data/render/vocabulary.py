"""The words receipts are made of: shops, goods, streets, ways of writing money and dates. All names are made up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Currency:
    """How one currency is written.

    Attributes:
        code: ISO 4217.
        pattern: where the amount goes, such as "${}".
        decimals: digits after the decimal mark.
        mark: the decimal mark.
        thousands: what stands between groups of three digits.
        step: amounts are multiples of it, in the smallest unit.
        scale: typical prices relative to a dollar's, in the smallest unit of each.
        tax: what the tax is called.
        rates: tax rates in use, per mille.
        included: whether prices include the tax.
    """

    code: str
    pattern: str
    decimals: int
    mark: str
    thousands: str
    step: int
    scale: float
    tax: str
    rates: tuple[int, ...]
    included: bool

    def write(self, amount: int) -> str:
        """Write an amount given in the smallest unit, such as cents."""
        return self.pattern.format(self.bare(amount))

    def bare(self, amount: int) -> str:
        """Write an amount without the currency's sign."""
        whole, part = divmod(amount, 10**self.decimals)
        text = f"{whole:,}".replace(",", self.thousands)
        return f"{text}{self.mark}{part:0{self.decimals}d}" if self.decimals else text


CURRENCIES = (
    Currency("USD", "${}", 2, ".", ",", 1, 1.0, "Sales tax", (60, 70, 80), False),
    Currency("EUR", "{} €", 2, ",", ".", 1, 0.9, "VAT", (70, 100, 190, 210), True),
    Currency("GBP", "£{}", 2, ".", ",", 1, 0.8, "VAT", (50, 200), True),
    Currency("MYR", "RM {}", 2, ".", ",", 5, 3.0, "GST", (60,), False),
    Currency("CHF", "CHF {}", 2, ".", "'", 5, 1.4, "VAT", (26, 81), True),
    Currency("SGD", "S${}", 2, ".", ",", 5, 1.3, "GST", (80, 90), False),
    Currency("JPY", "¥{}", 0, ".", ",", 1, 1.2, "Tax", (80, 100), True),
    Currency("PLN", "{} zł", 2, ",", " ", 1, 3.6, "VAT", (80, 230), True),
)

DATE_FORMATS = ("%d/%m/%Y", "%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d %b %Y", "%b %d, %Y")
PAYMENTS = ("cash", "card", "Visa", "Mastercard", "Amex", "debit card", "mobile pay", "gift card")

# kind of shop: (shop names' second word, goods with a typical dollar price in cents)
GOODS: dict[str, tuple[tuple[str, ...], tuple[tuple[str, int], ...]]] = {
    "grocery": (
        ("Market", "Foods", "Grocery", "Mart", "Superstore", "Minimart"),
        (
            ("Milk 1L", 139), ("Bread", 249), ("Eggs x12", 399), ("Butter", 329), ("Apples 1kg", 299),
            ("Bananas", 119), ("Rice 2kg", 549), ("Pasta", 149), ("Tomatoes", 279), ("Cheese", 459),
            ("Yoghurt", 99), ("Orange juice", 319), ("Coffee beans", 799), ("Black tea", 389), ("Sugar 1kg", 189),
            ("Olive oil", 899), ("Potatoes", 249), ("Onions", 129), ("Chicken", 749), ("Dish soap", 259),
        ),
    ),
    "cafe": (
        ("Cafe", "Coffee", "Bakery", "Tea House", "Espresso Bar"),
        (
            ("Espresso", 280), ("Cappuccino", 420), ("Flat white", 430), ("Green tea", 340), ("Croissant", 310),
            ("Muffin", 350), ("Bagel", 390), ("Hot chocolate", 450), ("Carrot cake", 520), ("Iced latte", 490),
            ("Cookie", 220), ("Lemonade", 380),
        ),
    ),
    "restaurant": (
        ("Kitchen", "Grill", "Bistro", "Trattoria", "Diner", "Noodle Bar"),
        (
            ("Soup of the day", 650), ("Garden salad", 890), ("Margherita", 1250), ("Burger", 1390),
            ("Ramen", 1420), ("Steak", 2690), ("Fish and chips", 1590), ("Risotto", 1640), ("Tiramisu", 720),
            ("Ice cream", 540), ("Red wine", 780), ("Sparkling water", 390), ("Lager", 620), ("Fried rice", 1090),
        ),
    ),
    "hardware": (
        ("Hardware", "Tools", "DIY", "Builders", "Garden Centre"),
        (
            ("Hammer", 1890), ("Wood screws", 649), ("Paint 2.5L", 3499), ("Paint brush", 799), ("Duct tape", 599),
            ("Sandpaper", 449), ("LED bulb", 529), ("Work gloves", 999), ("Tape measure", 1249), ("Drill bits", 2199),
            ("Garden hose", 2799), ("Padlock", 1599),
        ),
    ),
    "pharmacy": (
        ("Pharmacy", "Drugstore", "Chemist", "Health"),
        (
            ("Plasters", 349), ("Vitamin C", 899), ("Cough syrup", 1049), ("Toothpaste", 399), ("Shampoo", 629),
            ("Sun cream", 1299), ("Hand soap", 279), ("Eye drops", 849), ("Bandage", 459), ("Lip balm", 319),
        ),
    ),
    "stationer": (
        ("Books", "Stationery", "Office Supplies", "Papers"),
        (
            ("Notebook", 599), ("Ballpoint pens", 449), ("Paper A4", 699), ("Stapler", 1149), ("Envelopes", 399),
            ("Desk lamp", 3299), ("Ink black", 2499), ("Folder", 249), ("Calendar", 1199), ("Marker set", 899),
        ),
    ),
    "fuel": (
        ("Fuel", "Petrol", "Gas Station", "Service Station"),
        (("Unleaded 95", 172), ("Diesel", 181), ("Super 98", 196), ("Car wash", 1200), ("Engine oil", 1690)),
    ),
    "taxi": (("Taxi", "Cabs", "Cab Company", "Radio Taxi"), (("Fare", 1850), ("Airport fee", 400), ("Luggage", 150))),
    "services": (
        ("Repairs", "Cleaning", "Consulting", "Print Shop", "Electrics", "Plumbing"),
        (
            ("Labour", 8500), ("Call-out fee", 4500), ("Spare parts", 6250), ("Design work", 12000),
            ("Window cleaning", 6800), ("Flyers", 9400), ("Cabling", 7350), ("Inspection", 5900),
        ),
    ),
}  # fmt: skip

NAMES = (
    "Alder", "Amber", "Anchor", "Aurora", "Beacon", "Birch", "Blue Door", "Bramble", "Bridge", "Brook", "Canal",
    "Cedar", "Cherry", "Clover", "Coral", "Corner", "Crescent", "Daisy", "Delta", "Eagle", "East Side", "Elm",
    "Falcon", "Fern", "Fox", "Garden", "Golden", "Green", "Grove", "Harbour", "Hazel", "Heron", "Hill Top", "Iris",
    "Ivy", "Jasmine", "Juniper", "Kestrel", "King", "Lake", "Lantern", "Lark", "Laurel", "Lemon", "Lily", "Linden",
    "Lotus", "Magnolia", "Maple", "Meadow", "Mill", "Mint", "Moon", "North", "Oak", "Ocean", "Olive", "Orchid",
    "Otter", "Park", "Pearl", "Pepper", "Pine", "Plum", "Poppy", "Quarry", "Queen", "Raven", "Red Lion", "Ridge",
    "River", "Robin", "Rose", "Royal", "Saffron", "Sage", "Silver", "Sparrow", "Spring", "Star", "Stone", "Summit",
    "Sun", "Swan", "Thistle", "Tulip", "Union", "Valley", "Velvet", "Violet", "Walnut", "West End", "Willow", "Wren",
)  # fmt: skip
STREETS = (
    "Main St", "High Street", "Station Rd", "Park Avenue", "Mill Lane", "Church Rd", "Victoria St", "King St",
    "Market Square", "Harbour Rd", "Bridge St", "Garden Lane", "Queens Rd", "North St", "River Walk", "Elm Drive",
)  # fmt: skip
CITIES = (
    "Ashford", "Bexley", "Calder", "Dunmore", "Eastvale", "Fairview", "Glenwood", "Hartwell", "Islington", "Kingsport",
    "Lakeside", "Millbrook", "Newhaven", "Oakdale", "Portland", "Redhill", "Stanton", "Thornton", "Upton", "Westbury",
)  # fmt: skip
CLERKS = ("Anna", "Ben", "Chloe", "David", "Emma", "Farid", "Grace", "Hugo", "Ines", "Jonas", "Kim", "Lena", "Mei")
THANKS = ("Thank you!", "Please come again", "Have a nice day", "Thank you for your visit", "See you soon")
