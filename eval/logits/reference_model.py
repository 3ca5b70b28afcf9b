"""A Llama GGUF as a transformers model with exactly the dequantised weights.

The one place that knows how llama.cpp stores Llama weights: rows of attn_q and attn_k are
interleaved per head for its rope, which transformers' rope does not expect. Needs torch,
transformers and gguf.
"""
import gguf
import numpy as np
import torch
import transformers

LAYER_TENSORS = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj"}
TOP_TENSORS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm",
               "output": "lm_head"}


def undo_interleave(rows, num_heads):
    """[num_heads * d, n] from llama.cpp's (d/2, 2) row order per head to transformers' (2, d/2)."""
    out, columns = rows.shape
    return (rows.reshape(num_heads, out // num_heads // 2, 2, columns).swapaxes(1, 2)
            .reshape(out, columns))


def config_of(reader):
    def field(key, default=None):
        value = reader.get_field(f"llama.{key}")
        return default if value is None else value.contents()
    heads = field("attention.head_count")
    return transformers.LlamaConfig(
        head_dim=field("attention.key_length", field("embedding_length") // heads),
        vocab_size=len(reader.get_field("tokenizer.ggml.tokens").data),
        hidden_size=field("embedding_length"), intermediate_size=field("feed_forward_length"),
        num_hidden_layers=field("block_count"), num_attention_heads=heads,
        num_key_value_heads=field("attention.head_count_kv", heads),
        max_position_embeddings=field("context_length"),
        rms_norm_eps=field("attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": field("rope.freq_base", 10000.0)},
        tie_word_embeddings=not any(t.name == "output.weight" for t in reader.tensors))


def name_in_transformers(name):
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{LAYER_TENSORS[parts[2]]}.weight"
    return TOP_TENSORS[parts[0]] + ".weight"


def load(path, dtype=torch.float32):
    """LlamaForCausalLM in `dtype`, evaluation mode, eager attention. KeyError: unknown tensor."""
    reader = gguf.GGUFReader(path)
    config = config_of(reader)
    model = transformers.LlamaForCausalLM._from_config(config, attn_implementation="eager",
                                                       dtype=torch.float32)
    state, rope_factors = {}, None
    for tensor in reader.tensors:
        weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if tensor.name == "rope_freqs.weight":
            rope_factors = torch.from_numpy(weight.copy())
            continue
        if ".attn_q." in tensor.name:
            weight = undo_interleave(weight, config.num_attention_heads)
        elif ".attn_k." in tensor.name:
            weight = undo_interleave(weight, config.num_key_value_heads)
        state[name_in_transformers(tensor.name)] = torch.from_numpy(weight.copy())
    if config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state, strict=True)
    if rope_factors is not None:
        model.model.rotary_emb.inv_freq /= rope_factors
    return model.to(dtype).eval()


@torch.no_grad()
def logits_at(model, tokens, positions):
    """Logits [len(positions), vocab] of one teacher-forced pass over tokens."""
    ids = torch.tensor(np.asarray(tokens, dtype=np.int64))[None]
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[0]
    return model.lm_head(hidden[torch.as_tensor(np.asarray(positions, dtype=np.int64))]).numpy()
