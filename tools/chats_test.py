#!/usr/bin/env python3
"""Tests of the trace of tools/rows/C.picking and of the bound on its hits."""
import pathlib
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "rows"))
import chats  # noqa: E402


def turns_of(*prompts):
    """A letter is a sentence of 10 tokens, a capital one of 1."""
    return [chats.Turn(list(prompt), 0) for prompt in prompts]


def most_cached(capacity, *prompts):
    tokens = {letter: 10 if letter.islower() else 1 for prompt in prompts for letter in prompt}
    return chats.most_cached(turns_of(*prompts), capacity, tokens)


class MostCachedTest(unittest.TestCase):
    def test_with_room_for_all_every_sentence_is_a_hit_but_once(self):
        self.assertEqual(most_cached(1000, "ab", "abC", "abCd", "x"), 20 + 21)

    def test_a_sentence_is_known_by_all_before_it(self):
        self.assertEqual(most_cached(1000, "ab", "b", "cb"), 0)

    def test_what_is_needed_last_goes_first(self):
        # Least recent use would have nothing of "a" and "b" in the end.
        self.assertEqual(most_cached(20, "a", "b", "c", "d", "a", "b"), 20)
        self.assertEqual(most_cached(10, "a", "b", "a", "b"), 10)

    def test_a_part_of_a_sentence_counts_for_its_tokens(self):
        self.assertEqual(most_cached(15, "a", "b", "a", "b"), 10 + 5)

    def test_no_room_no_hit(self):
        self.assertEqual(most_cached(0, "a", "a"), 0)


class TraceTest(unittest.TestCase):
    def test_turns_grow_and_a_seed_gives_the_same_trace(self):
        trace = chats.trace(5, 20, 1.0)
        self.assertEqual(len(trace), 20)
        for conversation in trace:
            for before, after in zip(conversation, conversation[1:]):
                self.assertEqual(after.sentences[:len(before.sentences)], before.sentences)
                self.assertGreater(len(after.sentences), len(before.sentences))
        self.assertEqual(trace, chats.trace(5, 20, 1.0))
        self.assertNotEqual(trace, chats.trace(6, 20, 1.0))

    def test_conversations_meet_in_their_beginnings_only(self):
        firsts = {conversation[0].sentences[0] for conversation in chats.trace(5, 60, 1.0)}
        self.assertLessEqual(len(firsts), chats.SYSTEMS + chats.DOCUMENTS)
        self.assertGreater(len(firsts), chats.SYSTEMS)


if __name__ == "__main__":
    unittest.main()
