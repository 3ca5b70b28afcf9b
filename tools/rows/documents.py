"""Long texts of short sentences for rows that measure time: what is in them does not matter, their sentences do."""
import json
import random
import subprocess

import rowlib

NOUNS = ["harbour", "market", "library", "station", "orchard", "museum", "bakery", "mill", "school", "river"]
VERBS = ["walked to", "cleaned", "painted", "described", "visited", "closed", "opened", "remembered"]
NAMES = ["Anna", "Boris", "Clara", "David", "Elena", "Felix", "Greta", "Henry", "Irene", "Jonas"]
TAILS = ["before the rain began", "with two old friends", "late in the evening", "without saying a word",
         "and wrote a long letter about it to the mayor of the town"]


def tokens_of(text):
    done = subprocess.run([rowlib.binary("skv"), "tokenize", "--json", "-"], input=text,
                          capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def sentences(seed, count):
    rng = random.Random(seed)
    return [f"{rng.choice(NAMES)} {rng.choice(VERBS)} the {rng.choice(NOUNS)} {rng.choice(TAILS)}."
            for _ in range(count)]


def text(seed, length):
    """A document of `length` tokens, give or take a sentence in a hundred; another seed, another document."""
    all_sentences = sentences(seed, length // 8)
    share = length / len(tokens_of(" ".join(all_sentences)))
    return " ".join(all_sentences[:int(share * len(all_sentences))])


def prompt(seed, length):
    """The first `length` token ids of a document; another seed, another document."""
    ids = tokens_of(" ".join(sentences(seed, length // 8)))
    if len(ids) < length:
        rowlib.fail(f"the text has {len(ids)} tokens, expected at least {length}")
    return ids[:length]
