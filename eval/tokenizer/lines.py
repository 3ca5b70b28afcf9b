"""Seeded lines of text and bytes that a tokenizer may get wrong.

A line is `bytes` and may hold line breaks. Classes:
  script  words, digits and punctuation of 20 scripts, sometimes mixed
  code    code in several languages, with control tokens' texts among it
  emoji   emoji sequences and stacks of combining marks
  bytes   random bytes and cut characters, with NUL, U+000B, U+0085 and every kind of white space
"""

import random
import re
import unicodedata

CLASSES = ("script", "code", "emoji", "bytes")

SCRIPTS = {
    "latin": ["AZ", "az", "az", "az", "\u00c0\u024f"],
    "greek": ["\u0370\u03ff", "\u1f00\u1fff"],
    "cyrillic": ["\u0400\u04ff"],
    "armenian": ["\u0531\u0589"],
    "hebrew": ["\u0591\u05f4"],
    "arabic": ["\u0600\u06ff"],
    "devanagari": ["\u0900\u097f"],
    "bengali": ["\u0980\u09ff"],
    "tamil": ["\u0b80\u0bff"],
    "telugu": ["\u0c00\u0c7f"],
    "thai": ["\u0e01\u0e5b"],
    "lao": ["\u0e81\u0edf"],
    "tibetan": ["\u0f00\u0fda"],
    "georgian": ["\u10a0\u10ff"],
    "ethiopic": ["\u1200\u137c"],
    "khmer": ["\u1780\u17f9"],
    "mongolian": ["\u1800\u18aa"],
    "japanese": ["\u3041\u309f", "\u30a0\u30ff"],
    "han": ["\u4e00\u9fff", "\u3400\u4dbf", "\U00020000\U0002a6df"],
    "hangul": ["\uac00\ud7a3", "\u1100\u11ff"],
}
SPACES = [
    " ",
    "  ",
    "   ",
    "\t",
    "\n",
    "\r\n",
    "\n\n",
    "\u00a0",
    "\u2003",
    "\u3000",
    "\u000b",
    "\u0085",
    "\u2028",
    "\u202f",
    "\u1680",
    "\f",
    " \n",
    "\n ",
    " \t ",
]
PUNCTUATION = list(".,;:!?-()[]{}\"'/\\|@#$%^&*+=<>~`_") + [
    "...",
    "\u2014",
    "\u3001",
    "\u3002",
    "\u00bf",
    "\u2019",
    "'s",
    "'LL",
    "'re",
    "'\u017f",
    "n't",
]
SPECIAL_TEXTS = [
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|begin_of_text|>",
    "<|im_",
    "<|<|im_end|>|>",
    "<file_sep>",
    "<reponame>",
    "<|start_header_id|>",
]
KEYWORDS = [
    "if",
    "else",
    "for",
    "while",
    "return",
    "def",
    "class",
    "const",
    "auto",
    "std::vector<int>",
    "self",
    "None",
    "true",
    "#include <map>",
    "import",
    "async",
    "await",
    "fn",
    "let mut",
    "SELECT",
    "FROM",
    "</div>",
    "<p>",
    '"key":',
    "public static void",
    "#define",
    "//",
    "/*",
    "*/",
    "#",
]
OPERATORS = [
    " = ",
    " == ",
    "->",
    "::",
    "+=",
    " && ",
    "||",
    "<<",
    ">>=",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ";",
    ", ",
    ".",
    " : ",
    "\\n",
    "!",
    "?",
    "%",
    "@",
    "$",
    "`",
    "...",
]
WORDS = """
the of and to in a is that it was for on are as with his they at be this have from or one had by
word but not what all were we when your can said there use each which she do how their if will up
other about out many then them these so some her would make like him into time has look two more
write go see number no way could people my than first water been call who oil its now find long
down day did get come made may part over new sound take only little work know place year live
understanding international responsibility communication unbelievable tokenization
electroencephalography nevertheless it's don't we'll I'm they've you'd she'd HTTP JSON GPU Paris
Müller naïve café résumé façade coöperate
""".split()
# Bytes that read as a character above U+10FFFF make llama.cpp throw through its C interface.
ABOVE_UNICODE = re.compile(rb"\xf4[\x90-\xbf][\x80-\xbf]{2}|[\xf5-\xf7][\x80-\xbf]{3}")


def assigned(ranges):
    return [
        chr(c)
        for first, last in ranges
        for c in range(ord(first), ord(last) + 1)
        if unicodedata.category(chr(c)) != "Cn"
    ]


class LineGenerator:
    """Words come from a lexicon of its own, so that a vocabulary can be trained on its lines."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.letters = {name: assigned(ranges) for name, ranges in SCRIPTS.items()}
        self.names = list(SCRIPTS)
        self.lexicon = {name: [self.new_word(name) for _ in range(200)] for name in SCRIPTS}
        self.num_script_lines = 0

    def new_word(self, script):
        return "".join(self.rng.choices(self.letters[script], k=self.rng.randint(1, 9)))

    def word(self, script):
        draw = self.rng.random()
        if draw < 0.2:
            return self.new_word(script)
        if script == "latin" and draw < 0.7:
            word = self.rng.choice(WORDS)
            return self.rng.choice(
                [word, word, word.capitalize(), word.upper(), word + self.rng.choice(WORDS)]
            )
        lexicon = self.lexicon[script]
        return lexicon[min(int(self.rng.paretovariate(0.7)) - 1, len(lexicon) - 1)]

    def number(self):
        digits = self.rng.choice(
            ["0123456789"] * 4
            + ["\u0660\u0661\u0662\u0663", "\u0966\u0967\u0968", "\u2160\u00bd\u00b2\u2468"]
        )
        return "".join(self.rng.choices(digits, k=self.rng.randint(1, 8)))

    def script(self):
        # Every script in turn, so that each has its share of any number of lines.
        script = self.names[self.num_script_lines % len(self.names)]
        self.num_script_lines += 1
        parts = []
        for _ in range(self.rng.randint(1, 8)):
            draw = self.rng.random()
            if draw < 0.1:
                parts.append(self.number())
            elif draw < 0.2:
                parts.append(self.word(self.rng.choice(self.names)))
            else:
                parts.append(self.word(script))
            if self.rng.random() < 0.3:
                parts.append(self.rng.choice(PUNCTUATION))
            parts.append(" " if self.rng.random() < 0.75 else self.rng.choice(SPACES + [""]))
        return "".join(parts).encode()

    def identifier(self):
        words = [self.word("latin") for _ in range(self.rng.randint(1, 3))]
        style = self.rng.randrange(3)
        return (
            "_".join(words)
            if style == 0
            else "".join(w.capitalize() for w in words) if style == 1 else words[0]
        )

    def code(self):
        lines = []
        for _ in range(self.rng.randint(1, 3)):
            parts = [
                self.rng.choice(["", "  ", "    ", "\t", "\t\t", " " * self.rng.randint(0, 24)])
            ]
            for _ in range(self.rng.randint(2, 9)):
                draw = self.rng.random()
                if draw < 0.25:
                    parts.append(self.rng.choice(KEYWORDS) + " ")
                elif draw < 0.55:
                    parts.append(self.identifier())
                elif draw < 0.85:
                    parts.append(self.rng.choice(OPERATORS))
                elif draw < 0.95:
                    parts.append(
                        self.rng.choice(
                            [
                                "0x%x" % self.rng.getrandbits(32),
                                str(self.rng.getrandbits(20)),
                                "%.3e" % self.rng.random(),
                            ]
                        )
                    )
                else:
                    parts.append(self.rng.choice(SPECIAL_TEXTS))
            lines.append("".join(parts))
        return self.rng.choice(["\n", "\r\n", "\n\n"]).join(lines).encode()

    def emoji(self):
        parts = []
        for _ in range(self.rng.randint(2, 12)):
            draw = self.rng.random()
            if draw < 0.35:
                parts.append(self.rng.choice(self.pictures()))
                parts.append(
                    self.rng.choice(
                        [
                            "",
                            "\ufe0f",
                            chr(self.rng.randint(0x1F3FB, 0x1F3FF)),
                            "\u200d" + self.rng.choice(self.pictures()),
                        ]
                    )
                )
            elif draw < 0.45:
                parts.extend(chr(self.rng.randint(0x1F1E6, 0x1F1FF)) for _ in range(2))
            elif draw < 0.5:
                parts.append(self.rng.choice("0123456789#*") + "\ufe0f\u20e3")
            elif draw < 0.85:
                parts.append(self.rng.choice("aeioukn AZ.'1\u0928\u05d0"))
                parts.extend(self.rng.choices(self.marks(), k=self.rng.randint(1, 6)))
            else:
                parts.append(self.rng.choice(SPACES + [self.word("latin"), self.number()]))
        return "".join(parts).encode()

    def pictures(self):
        return (
            "\u2600\u2603\u2708\u2764\u231a"
            + "".join(map(chr, range(0x1F600, 0x1F650)))
            + "".join(map(chr, range(0x1F300, 0x1F320)))
        )

    def marks(self):
        return [
            chr(c)
            for c in (
                *range(0x300, 0x370),
                *range(0x1DC0, 0x1DE7),
                *range(0x20D0, 0x20F1),
                0x200D,
                0x0301,
                0x093C,
            )
        ]

    def bytes(self):
        parts = []
        for _ in range(self.rng.randint(2, 14)):
            draw = self.rng.random()
            if draw < 0.4:
                parts.append(self.rng.randbytes(self.rng.randint(1, 6)))
            elif draw < 0.6:
                parts.append(
                    self.rng.choice(
                        [
                            "\0",
                            "\0\0",
                            "\u000b",
                            "\u0085",
                            "\u001c",
                            "\u001f",
                            "\u007f",
                            "\u200b",
                            "\ufeff",
                            "\ufffd",
                        ]
                    ).encode()
                )
            elif draw < 0.75:
                parts.append(self.rng.choice(SPACES).encode())
            elif draw < 0.9:
                character = self.rng.choice(self.letters[self.rng.choice(self.names)]).encode()
                parts.append(character[: self.rng.randint(1, len(character))])
            else:
                parts.append(self.word("latin").encode())
        line = b"".join(parts)
        return self.bytes() if ABOVE_UNICODE.search(line) else line


def make_lines(seed, num_per_class):
    """{class: distinct lines}; num_per_class: {class: number}."""
    generator = LineGenerator(seed)
    seen = set()
    lines = {}
    for name, number in num_per_class.items():
        make = getattr(generator, name)
        lines[name] = []
        while len(lines[name]) < number:
            line = make()
            if line and line not in seen:
                seen.add(line)
                lines[name].append(line)
    return lines
