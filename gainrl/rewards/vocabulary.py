"""The words and signs of quantities: units and their sizes, words that scale a number, and words that are not units."""

from __future__ import annotations

from fractions import Fraction

Dimensions = tuple[tuple[str, int], ...]


def _row(words: str) -> list[str]:
    return words.split()


def _words(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Dimension -> size in its base unit -> spellings.
_SIZES: dict[str, dict[str, str]] = {
    "length": {
        "1": "m meter meters metre metres",
        "1000": "km kilometer kilometers kilometre kilometres",
        "1/10": "dm decimeter decimeters decimetre decimetres",
        "1/100": "cm cms centimeter centimeters centimetre centimetres",
        "1/1000": "mm millimeter millimeters millimetre millimetres",
        "1/1000000": "um μm µm micrometer micrometers micron microns",
        "1/1000000000": "nm nanometer nanometers nanometre nanometres",
        "0.0254": "in inch inches",
        "0.3048": "ft foot feet",
        "0.9144": "yd yds yard yards",
        "1609.344": "mi mile miles",
    },
    "time": {
        "1": "s sec secs second seconds",
        "1/1000": "ms millisecond milliseconds",
        "1/1000000": "us μs µs microsecond microseconds",
        "1/1000000000": "ns nanosecond nanoseconds",
        "60": "min mins minute minutes",
        "3600": "h hr hrs hour hours",
        "86400": "day days",
        "604800": "week weeks wk wks",
    },
    "month": {"1": "month months", "12": "year years yr yrs"},
    "mass": {
        "1": "g gm gms gram grams gramme grammes",
        "1000": "kg kgs kilogram kilograms kilo kilos",
        "1/1000": "mg milligram milligrams",
        "1/1000000": "μg µg microgram micrograms",
        "1000000": "tonne tonnes",
        "453.59237": "lb lbs pound pounds",
        "28.349523125": "oz ounce ounces",
    },
    "volume": {
        "1": "L l liter liters litre litres",
        "1/1000": "mL ml milliliter milliliters millilitre millilitres cc",
        "1/100": "cL cl centiliter centiliters",
        "3.785411784": "gal gallon gallons",
        "0.946352946": "qt quart quarts",
        "0.473176473": "pt pint pints",
    },
    "area": {"1": "hectare hectares ha", "0.40468564224": "acre acres"},
    "dollar": {"1": "dollar dollars USD usd bucks buck $", "1/100": "cent cents ¢"},
    "euro": {"1": "euro euros EUR €"},
    "pound sterling": {"1": "GBP £", "1/100": "pence penny pennies"},
    "yen": {"1": "yen JPY"},
    "yuan": {"1": "yuan CNY RMB 元"},
    "rupee": {"1": "rupee rupees Rs Rs. INR ₹ rs", "1/100": "paise paisa"},
    "degree": {
        "1": "degree degrees deg °",
        "1/60": "arcminute arcminutes",
        "1/3600": "arcsecond arcseconds",
    },
    "radian": {"1": "rad radian radians"},
    "celsius": {"1": "°C celsius Celsius"},
    "fahrenheit": {"1": "°F fahrenheit Fahrenheit"},
    "kelvin": {"1": "K kelvin kelvins"},
    "newton": {"1": "N newton newtons", "1000": "kN kilonewton kilonewtons"},
    "joule": {
        "1": "J joule joules",
        "1000": "kJ kilojoule kilojoules",
        "1000000": "MJ megajoule megajoules",
    },
    "electronvolt": {"1": "eV", "1000": "keV", "1000000": "MeV", "1000000000": "GeV"},
    "watt": {"1": "W watt watts", "1000": "kW kilowatt kilowatts", "1000000": "MW", "1/1000": "mW"},
    "volt": {"1": "V volt volts", "1000": "kV", "1/1000": "mV millivolt millivolts"},
    "ampere": {"1": "A amp amps ampere amperes", "1/1000": "mA milliampere milliamperes"},
    "ohm": {"1": "ohm ohms Ω", "1000": "kΩ kilohm kilohms"},
    "hertz": {"1": "Hz hertz", "1000": "kHz", "1000000": "MHz", "1000000000": "GHz"},
    "pascal": {"1": "Pa pascal pascals", "1000": "kPa", "1000000": "MPa"},
    "coulomb": {"1": "C coulomb coulombs", "1/1000": "mC", "1/1000000": "μC µC"},
    "tesla": {"1": "T tesla teslas"},
    "mole": {"1": "mol mole moles", "1/1000": "mmol"},
    "byte": {
        "1": "B byte bytes",
        "1000": "kB KB kilobytes",
        "1000000": "MB megabytes",
        "1000000000": "GB gigabytes",
    },
    "bit": {"1": "bit bits"},
}
UNITS: dict[str, tuple[Fraction, Dimensions]] = {
    spelling: (Fraction(size), ((kind, 1),))
    for kind, sizes in _SIZES.items()
    for size, spellings in sizes.items()
    for spelling in spellings.split()
} | {
    "mph": (Fraction("0.44704"), (("length", 1), ("time", -1))),
    "kmh": (Fraction(5, 18), (("length", 1), ("time", -1))),
    "kph": (Fraction(5, 18), (("length", 1), ("time", -1))),
}
# What stands for a unit but has no size of its own: 5 square units, 5 ways, 5 個.
SIZELESS = _words("unit units sq atm erg ergs dyn dyne lm lx M pc ly Å dB pts pt nos px 個 个 人 只 本 匹 枚 条 块 円")
# Single letters that name a unit after a number and a space: "5 m" has a unit, "5 x" has not.
LETTERS = frozenset("mgshLNJWVAKCFT")
# Units that are as likely products of letters.
PRODUCTS = _words("mg ms ml mL nm ns mm gm ha in pt cc kV mV mA MW kN eV")
# Plain words of two or three letters are products of letters ("3 xy"), unless they are one of these.
SHORT_WORDS = _words(
    "men man boy boys dog dogs cat cats cow cows hen hens pig pigs car cars bus egg eggs pie pies pen pens hat "
    "hats box bag bags cup cups day can cans jar jars toy toys way ways row rows set sets bit job jobs lap laps "
    "run runs win hit kid kids ant ants bee bees fox tie ties cap caps key keys map maps mug mugs net nets nut "
    "nuts pot pots rug rugs sum tub tubs of the a an in on per each all ago old new km/h bar bars bed beds bow "
    "bows fan fans gem gems leg legs"
)
CONNECTORS = _words("of the a an per each in on total all ago")

CARDINALS = {
    word: value
    for value, word in enumerate(
        _row(
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
            "seventeen eighteen nineteen"
        )
    )
} | {word: 20 + 10 * place for place, word in enumerate(_row("twenty thirty forty fifty sixty seventy eighty ninety"))}
SCALES = {
    word: Fraction(value)
    for word, value in {
        "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
        "万": 10**4, "千": 10**3, "百": 100, "亿": 10**8,
    }.items()
}  # fmt: skip
_PARTS = {
    "half": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10,
    "eleventh": 11, "twelfth": 12, "sixteenth": 16, "twentieth": 20, "hundredth": 100, "thousandth": 1000,
    "millionth": 10**6, "billionth": 10**9,
}  # fmt: skip
SCALES |= {f"{word}s": scale for word, scale in SCALES.items() if word.isascii()}
SCALES |= {word: Fraction(1, size) for word, size in _PARTS.items()} | {"halves": Fraction(1, 2)}
SCALES |= {f"{word}s": Fraction(1, size) for word, size in _PARTS.items() if word != "half"}
SCALES |= {"permille": Fraction(1, 1000), "per-mille": Fraction(1, 1000), "‰": Fraction(1, 1000)}
# Words that say something of the value; a number followed by one of these is not that number.
NO_UNIT = (
    _words(
        "and or not no none nor but if when where for with from to between by is are was be as plus minus times over "
        "under above below divided multiplied negative positive less more least most fewer greater smaller larger "
        "higher lower than exactly about approximately around squared cubed square-root root power factorial base mod "
        "modulo remainder choose pi infinity infinite infinitely undefined double twice triple thrice sine cosine "
        "tangent log ln sin cos tan exp sqrt out point decimal percent percentage wrong incorrect false any maybe "
        "possibly instead except without until"
    )
    | CARDINALS.keys()
    | SCALES.keys()
)
SQUARES = {"square": 2, "sq": 2, "sq.": 2, "cubic": 3, "cu": 3, "cu.": 3}
POWERS = {"squared": 2, "cubed": 3}
