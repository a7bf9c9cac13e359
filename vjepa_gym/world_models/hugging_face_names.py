"""Names of weights in `transformers` and ours.

There, queries, keys and values have a matrix each, and the mask tokens are one tensor.
"""

import re

import torch
from torch import Tensor

from vjepa_gym.learning.checkpoints import Weights

QKV = ("query", "key", "value")
HEADS = ("pooler.", "classifier.")
"""What classifiers have beside the encoder, which stands under `vjepa2.` there; left out."""
NAMES = (
    (r"^encoder\.embeddings\.patch_embeddings\.", "encoder.patch_embed."),
    (r"^encoder\.layer\.", "encoder.blocks."),
    (r"^encoder\.layernorm\.", "encoder.norm."),
    (r"^predictor\.embeddings\.predictor_embeddings\.", "predictor.predictor_embed."),
    (r"^predictor\.layer\.", "predictor.predictor_blocks."),
    (r"^predictor\.layernorm\.", "predictor.predictor_norm."),
    (r"^predictor\.proj\.", "predictor.predictor_proj."),
    (r"\.attention\.", ".attn."),
)
"""Their names and ours; the rest is the same."""
MASK_TOKENS = "predictor.embeddings.mask_tokens"


def from_hugging_face(weights: Weights) -> dict[str, Tensor]:
    """Return weights under our names; what has no counterpart keeps its name."""
    plain = {key.removeprefix("vjepa2."): x for key, x in weights.items()}
    ours: dict[str, Tensor] = {}
    for key, x in plain.items():
        if key.startswith(HEADS):
            continue
        start, separator, end = key.rpartition("attention.query.")
        parts = [plain.get(f"{start}attention.{one}.{end}") for one in QKV]
        if separator and all(part is not None for part in parts):
            ours[_renamed(f"{start}attention.qkv.{end}")] = torch.cat(parts)  # pyright: ignore
        elif key == MASK_TOKENS:
            ours.update({f"predictor.mask_tokens.{i}": token for i, token in enumerate(x)})
        elif not _is_joined(key, plain):
            ours[_renamed(key)] = x
    return ours


def to_hugging_face(weights: Weights) -> dict[str, Tensor]:
    """Return weights under the names of `transformers`."""
    theirs: dict[str, Tensor] = {}
    tokens = [key for key in weights if key.startswith("predictor.mask_tokens.")]
    if tokens:
        ordered = sorted(tokens, key=lambda key: int(key.rpartition(".")[2]))
        theirs[MASK_TOKENS] = torch.stack([weights[key] for key in ordered])
    for key, x in weights.items():
        if key in tokens:
            continue
        name = _original(key)
        if ".attention.qkv." in name:
            for one, part in zip(QKV, x.chunk(3), strict=True):
                theirs[name.replace(".qkv.", f".{one}.")] = part
        else:
            theirs[name] = x
    return theirs


def _is_joined(key: str, weights: Weights) -> bool:
    """Return whether a key or value matrix was joined to its query."""
    found = re.fullmatch(r"(.*attention\.)(key|value)(\..*)", key)
    return found is not None and all(f"{found[1]}{one}{found[3]}" in weights for one in QKV)


def _renamed(key: str) -> str:
    for theirs, ours in NAMES:
        key = re.sub(theirs, ours, key)
    return key


def _original(key: str) -> str:
    for theirs, ours in NAMES:
        plain = theirs.replace("\\", "").removeprefix("^")
        key = key.replace(ours, plain) if ours == ".attn." or key.startswith(ours) else key
    return key
