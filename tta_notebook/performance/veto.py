"""What an embedding does not see: numbers, negations, names and quoted words that differ."""

# ruff: noqa: SIM905 - tables of words are read as text

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

# Digits with their separators; the sign, a per cent sign and a currency belong to the number.
_NUMBER = re.compile(r"[-+]?[$€£¥]?\d+(?:[.,:/]\d+)*\s?%?")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_QUOTED = re.compile(r"\"([^\"]+)\"|“([^”]+)”|«([^»]+)»|„([^“]+)“|`([^`]+)`")

# Numbers in words and what turns a sentence round, in the languages that many embedders know. "One"
# is as often a pronoun: against another number it shows all the same.
_NUMBER_WORDS = frozenset(
    """
    zero two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety
    hundred thousand million billion first second third half twice double
    null zwei drei vier fünf sechs sieben acht neun zehn elf zwölf hundert tausend
    deux trois quatre cinq huit neuf dix onze douze vingt cent mille
    dos tres cuatro cinco seis siete ocho nueve diez cien mil
    due tre quattro cinque sei sette otto nove dieci cento mille
    """.split()
)
_NEGATIONS = frozenset(
    """
    not nt no never none neither nor nothing nobody nowhere without except unless cannot cant dont
    isnt wasnt hardly barely rarely
    nicht kein keine keinen keiner keines keinem nie niemals niemand nichts ohne außer
    ne pas jamais aucun aucune rien sans sauf
    nunca ningún ninguna nada sin excepto
    non mai nessuno nessuna niente senza tranne
    não nenhum nenhuma sem
    niet geen nooit zonder
    """.split()
)
# Pairs that embedders take for the same because they stand in the same sentences.
_OPPOSITES = (
    ("before", "after"), ("above", "below"), ("over", "under"), ("more", "less"),
    ("increase", "decrease"), ("enable", "disable"), ("start", "stop"), ("open", "close"),
    ("allow", "deny"), ("allowed", "forbidden"), ("buy", "sell"), ("first", "last"),
    ("minimum", "maximum"), ("min", "max"), ("left", "right"), ("yes", "no"), ("true", "false"),
    ("with", "without"), ("best", "worst"), ("cheapest", "dearest"), ("cheap", "expensive"),
    ("hot", "cold"), ("high", "low"), ("highest", "lowest"), ("up", "down"), ("in", "out"),
    ("on", "off"), ("win", "lose"), ("import", "export"), ("encrypt", "decrypt"),
    ("add", "remove"), ("install", "uninstall"), ("accept", "reject"), ("male", "female"),
)  # fmt: skip


def veto(one: str, other: str) -> str | None:
    """Return why an answer to one text must not be given to the other, or None.

    Close in meaning by their vectors, two texts still ask for different answers when their numbers,
    their negations, their opposites, their names or what they quote differ. It is better to refuse
    too often: that costs a call, and the other a wrong answer.

    >>> veto("Take 5 mg a day?", "Take 50 mg a day?")
    'numbers differ: 5 / 50'
    >>> veto("Is it safe?", "Is it not safe?")
    'negations differ: - / not'
    >>> veto("How do I descale it?", "How do I descale it, please?") is None
    True
    """
    first, second = _normal(one), _normal(other)
    for what, found in _LOOKS:
        left, right = found(first), found(second)
        if left != right:
            return f"{what} differ: {_shown(left - right)} / {_shown(right - left)}"
    return _opposites(set(_words(first)), set(_words(second)))


def _normal(text: str) -> str:
    # NFKC: a full-width or superscript digit is a digit. Typographic signs become plain ones.
    plain = unicodedata.normalize("NFKC", text)
    return plain.replace("\N{MINUS SIGN}", "-").replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")


def _words(text: str) -> Iterable[str]:
    return (word.lower().replace("'", "") for word in _WORD.findall(text))


def _numbers(text: str) -> Counter[str]:
    found = Counter(_plain(number) for number in _NUMBER.findall(text))
    found.update(word for word in _words(text) if word in _NUMBER_WORDS)
    return found


def _plain(number: str) -> str:
    return number.replace(" ", "").replace("+", "")


def _negations(text: str) -> Counter[str]:
    return Counter(word for word in _words(text) if word in _NEGATIONS or _is_not(word))


def _is_not(word: str) -> bool:
    return word.endswith("nt") and word[:-2] in _VERBS


_VERBS = frozenset(
    "are is was were do does did ca could would should have has had must need wo".split()
)


def _opposites(left: set[str], right: set[str]) -> str | None:
    for one, other in _OPPOSITES:
        for here, there in ((one, other), (other, one)):
            # Each has what the other has not: "more or less" has both.
            if here in left - right and there in right - left:
                return f"opposites differ: {here} / {there}"
    return None


def _names(text: str) -> Counter[str]:
    """Words in capitals inside a sentence: names, products, acronyms."""
    words = list(_WORD.finditer(text))
    found = (
        word.group()
        for word in words
        if word.group()[0].isupper() and not _begins_sentence(text, word.start())
    )
    return Counter(name for name in found if name not in ("I", "I'm"))


def _begins_sentence(text: str, start: int) -> bool:
    before = text[:start].rstrip(" \t\"'“„«(")
    return not before or before[-1] in ".!?:\n"


def _quotes(text: str) -> Counter[str]:
    return Counter("".join(groups) for groups in _QUOTED.findall(text))


def _shown(words: Counter[str]) -> str:
    return ", ".join(sorted(words)) or "-"


_LOOKS = (
    ("numbers", _numbers),
    ("negations", _negations),
    ("quotations", _quotes),
    ("names", _names),
)
