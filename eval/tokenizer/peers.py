"""The tokenizers that are compared: ours, llama.cpp's, and Hugging Face's.

Each has encode(lines, parse_special) -> lists of ids, and decode(lists of ids) -> texts, in which
ill-formed UTF-8 is replaced by U+FFFD.
"""

import ctypes
import struct
import subprocess

LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_SPECIALS = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
]


class SkvTokenizer:
    """Drives skv-tokenizer-check (its --help has the protocol)."""

    def __init__(self, program, model):
        self.command = [str(program), "--model", str(model)]

    def run(self, mode, items):
        request = b"".join(struct.pack("<I", len(item)) + item for item in items)
        reply = subprocess.run(
            [*self.command, "--mode", mode], input=request, check=True, stdout=subprocess.PIPE
        ).stdout
        results, pos = [], 0
        while pos < len(reply):
            (size,) = struct.unpack_from("<I", reply, pos)
            results.append(reply[pos + 4 : pos + 4 + size])
            pos += 4 + size
        return results

    def encode(self, lines, parse_special):
        mode = "encode-special" if parse_special else "encode"
        return [list(struct.unpack(f"<{len(ids) // 4}i", ids)) for ids in self.run(mode, lines)]

    def decode(self, ids_of_lines):
        packed = [struct.pack(f"<{len(ids)}i", *ids) for ids in ids_of_lines]
        return [text.decode() for text in self.run("decode", packed)]


class LlamaCppTokenizer:
    def __init__(self, model):
        import llama_cpp

        self.api = llama_cpp
        self.log_callback = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self.log_callback, ctypes.c_void_p())
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.vocab_only = True
        self.model = llama_cpp.llama_model_load_from_file(str(model).encode(), params)
        if not self.model:
            raise RuntimeError(f"llama.cpp cannot load {model}")
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.vocab_size = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self.version = f"llama-cpp-python {llama_cpp.__version__}"

    def encode(self, lines, parse_special):
        results = []
        for line in lines:
            # A byte that is replaced by U+FFFD may become three tokens.
            ids = (self.api.llama_token * (3 * len(line) + 8))()
            number = self.api.llama_tokenize(
                self.vocab, line, len(line), ids, len(ids), False, parse_special
            )
            if number < 0:
                raise RuntimeError(f"llama_tokenize: {-number} ids do not fit, line {line!r}")
            results.append(ids[:number])
        return results

    def piece(self, token):
        buffer = ctypes.create_string_buffer(8192)
        size = self.api.llama_token_to_piece(self.vocab, token, buffer, len(buffer), 0, True)
        return buffer.raw[:size]

    def decode(self, ids_of_lines):
        return [b"".join(map(self.piece, ids)).decode(errors="replace") for ids in ids_of_lines]


class HuggingFaceTokenizer:
    """Llama 3's tokenizer.json around the given vocabulary and merges, both in file order."""

    def __init__(self, tokens, merges, specials):
        import tokenizers
        from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

        vocab = {token: id for id, token in enumerate(tokens) if token not in specials}
        self.tokenizer = Tokenizer(
            models.BPE(vocab, [tuple(m.split(" ")) for m in merges], ignore_merges=True)
        )
        self.tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(LLAMA3_PATTERN), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        self.tokenizer.decoder = decoders.ByteLevel()
        self.tokenizer.add_special_tokens(
            [AddedToken(s, normalized=False, special=True) for s in specials]
        )
        self.version = f"tokenizers {tokenizers.__version__}"

    def encode(self, lines, parse_special):
        """REQUIRES: lines are UTF-8."""
        self.tokenizer.encode_special_tokens = not parse_special
        return [
            e.ids
            for e in self.tokenizer.encode_batch(
                [line.decode() for line in lines], add_special_tokens=False
            )
        ]

    def decode(self, ids_of_lines):
        return self.tokenizer.decode_batch(ids_of_lines, skip_special_tokens=False)
