"""Small checkpoints of families of vision-language models, for the real vLLM to serve on a CPU.

    .venv-vllm/bin/python -m tests.families.checkpoints FOLDER NAME...     makes FOLDER/NAME for each

Real are the architecture (vLLM loads its own implementation of it), the image processor with the settings of the
released model (`tests/integration/image_processors.py` has them, with their source), and the special tokens that stand
for an image. So a request costs as many tokens as with the released model, is refused where that one refuses it, and
follows a schema as it would there. What the models write is chance: they have two narrow layers of random weights. But
they come to an end: see `_inclined`.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tests.integration.image_processors import PROCESSORS

# The text from which the tokenizers learn which letters go together: one that stays as it is, for what the models write
# hangs on it.
_TEXTS = [str(Path(__file__).parents[2] / "LICENSE")]
_VOCABULARY, _MERGED = 1024, 768
_POSITIONS = 32_768
_CHAT = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'text' %}{{ part.text }}{% else %}IMAGE{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# vLLM's attention on a CPU has kernels for heads of 32 numbers and more.
_TEXT: dict[str, Any] = {
    "vocab_size": _VOCABULARY, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": _POSITIONS,
}  # fmt: skip
_HEAD = {"head_dim": 32}
_SIGLIP: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
}  # fmt: skip
_QWEN_VISION: dict[str, Any] = {
    "depth": 2, "hidden_size": 64, "intermediate_size": 128, "num_heads": 2, "out_hidden_size": 128,
}  # fmt: skip


@dataclass(frozen=True)
class Family:
    """How a checkpoint is made.

    `processor` names its image processor in `PROCESSORS`. `image` is what the chat template writes for an image, and
    `special` are the tokens that this and the processor need, by the names under which the tokenizer knows them. `make`
    gets the tokenizer and the image processor, and returns the model's configuration and the processor of both. `words`
    are texts that are one token each. vLLM knows some weights by the beginning that `renamed` gives them.
    """

    processor: str
    image: str
    special: dict[str, str]
    make: Callable[[PreTrainedTokenizerFast, Any], tuple[Any, Any]]
    words: Sequence[str] = ()
    renamed: dict[str, str] = field(default_factory=dict)
    processor_changes: dict[str, Any] = field(default_factory=dict)


def _text(tokenizer: PreTrainedTokenizerFast, **changes: Any) -> dict[str, Any]:
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    return {**_TEXT, **ids, **changes}


# Qwen

_QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
_QWEN = {
    "vision_start": "<|vision_start|>", "vision_end": "<|vision_end|>", "image_pad": "<|image_pad|>",
    "video_pad": "<|video_pad|>", "vision_pad": "<|vision_pad|>",
}  # fmt: skip


def _qwen_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    tokens = {
        "image_token_id": "image_pad", "video_token_id": "video_pad", "vision_start_token_id": "vision_start",
        "vision_end_token_id": "vision_end",
    }  # fmt: skip
    return {name: tokenizer.convert_tokens_to_ids(f"<|{token}|>") for name, token in tokens.items()}


def _qwen2_5_vl(tokenizer: PreTrainedTokenizerFast, images: Any) -> tuple[Any, Any]:
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]}
    vision = {**_QWEN_VISION, "patch_size": 14, "window_size": 112, "fullatt_block_indexes": [1]}
    config = transformers.Qwen2_5_VLConfig(
        text_config=_text(tokenizer, rope_parameters=rope), vision_config=vision, **_qwen_ids(tokenizer)
    )
    videos = transformers.Qwen2VLVideoProcessor(patch_size=14)
    return config, transformers.Qwen2_5_VLProcessor(images, tokenizer, videos)


_QWEN3_VISION = {**_QWEN_VISION, "patch_size": 16, "num_position_embeddings": 2304}


def _qwen3_vl(tokenizer: PreTrainedTokenizerFast, images: Any) -> tuple[Any, Any]:
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [4, 6, 6], "mrope_interleaved": True}
    config = transformers.Qwen3VLConfig(
        text_config=_text(tokenizer, **_HEAD, rope_parameters=rope),
        vision_config={**_QWEN3_VISION, "deepstack_visual_indexes": [0]},
        **_qwen_ids(tokenizer),
    )
    return config, transformers.Qwen3VLProcessor(images, tokenizer, transformers.Qwen3VLVideoProcessor(patch_size=16))


def _qwen3_5(tokenizer: PreTrainedTokenizerFast, images: Any) -> tuple[Any, Any]:
    """Three layers of linear attention for each one of full attention."""
    rope = {
        "rope_type": "default", "rope_theta": 1e7, "mrope_section": [2, 3, 3], "mrope_interleaved": True,
        "partial_rotary_factor": 0.25,
    }  # fmt: skip
    linear = {
        "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_num_key_heads": 1,
        "linear_num_value_heads": 2,
    }  # fmt: skip
    config = transformers.Qwen3_5Config(
        text_config=_text(tokenizer, **linear, rope_parameters=rope, head_dim=64, num_hidden_layers=4),
        vision_config=_QWEN3_VISION,
        **_qwen_ids(tokenizer),
    )
    return config, transformers.Qwen3VLProcessor(images, tokenizer, transformers.Qwen3VLVideoProcessor(patch_size=16))


# SmolVLM, Idefics3

_TILES = {f"tile_{row}_{column}": f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)}
_SMOLVLM = {
    "image_token": "<image>", "fake_image_token": "<fake_token_around_image>", "global_image_token": "<global-img>",
    "end_of_utterance_token": "<end_of_utterance>", **_TILES,
}  # fmt: skip


def _smolvlm(tile: int, patch: int, scale: int) -> Callable[[PreTrainedTokenizerFast, Any], tuple[Any, Any]]:
    def make(tokenizer: PreTrainedTokenizerFast, images: Any) -> tuple[Any, Any]:
        kind = "SmolVLM" if isinstance(images, transformers.SmolVLMImageProcessor) else "Idefics3"
        config = getattr(transformers, f"{kind}Config")(
            text_config={**_text(tokenizer, **_HEAD), "model_type": "llama"},
            vision_config={**_SIGLIP, "image_size": tile, "patch_size": patch},
            scale_factor=scale,
            image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
            pad_token_id=tokenizer.pad_token_id,
        )
        parts = [images, tokenizer]
        if kind == "SmolVLM":
            edges = {"size": {"longest_edge": tile}, "max_image_size": {"longest_edge": tile}}
            sampled = {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": tile}}
            parts.append(transformers.SmolVLMVideoProcessor(**edges, num_frames=64, fps=1, video_sampling=sampled))
        processor = getattr(transformers, f"{kind}Processor")(*parts, image_seq_len=(tile // patch // scale) ** 2)
        return config, processor

    return make


# The others


def _internvl(tokenizer: PreTrainedTokenizerFast, images: Any) -> tuple[Any, Any]:
    config = transformers.InternVLConfig(
        text_config={**_text(tokenizer), "model_type": "qwen2"},
        vision_config={**_SIGLIP, "image_size": [448, 448], "patch_size": [14, 14], "use_qk_norm": False},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        tie_word_embeddings=False,
    )
    videos = transformers.InternVLVideoProcessor(size={"height": 448, "width": 448})
    return config, transformers.InternVLProcessor(images, tokenizer, videos, image_seq_length=256)


def _gemma3(tokenizer: PreTrainedTokenizerFast, images: Any) -> tuple[Any, Any]:
    tokens = {
        "boi_token_index": "<start_of_image>", "eoi_token_index": "<end_of_image>",
        "image_token_index": "<image_soft_token>",
    }  # fmt: skip
    layers = {
        "query_pre_attn_scalar": 32, "sliding_window": 1024, "layer_types": ["sliding_attention", "full_attention"],
    }  # fmt: skip
    config = transformers.Gemma3Config(
        text_config=_text(tokenizer, **_HEAD, **layers),
        vision_config={**_SIGLIP, "image_size": 896, "patch_size": 14, "vision_use_head": False},
        mm_tokens_per_image=256,
        **{name: tokenizer.convert_tokens_to_ids(token) for name, token in tokens.items()},
    )
    return config, transformers.Gemma3Processor(images, tokenizer, image_seq_length=256)


def _llava_onevision(tokenizer: PreTrainedTokenizerFast, images: Any) -> tuple[Any, Any]:
    vision = {**_SIGLIP, "image_size": 384, "patch_size": 14, "vision_use_head": False}
    config = transformers.LlavaOnevisionConfig(
        text_config={**_text(tokenizer), "model_type": "qwen2"},
        vision_config={**vision, "model_type": "siglip_vision_model"},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
    )
    processor = transformers.LlavaOnevisionProcessor(
        images, tokenizer, transformers.LlavaOnevisionVideoProcessor(), num_image_tokens=729,
        vision_feature_select_strategy="full",
    )  # fmt: skip
    return config, processor


def _mistral3(tokenizer: PreTrainedTokenizerFast, images: Any) -> tuple[Any, Any]:
    config = transformers.Mistral3Config(
        text_config={**_text(tokenizer, **_HEAD), "model_type": "mistral", "sliding_window": None},
        vision_config={
            **_SIGLIP, "model_type": "pixtral", "image_size": 1540, "patch_size": 14, "head_dim": 32,
            "hidden_act": "silu",
        },
        image_token_index=tokenizer.convert_tokens_to_ids("[IMG]"),
        spatial_merge_size=2,
        tie_word_embeddings=False,
    )  # fmt: skip
    return config, transformers.PixtralProcessor(images, tokenizer, patch_size=14, spatial_merge_size=2)


# As `vision_tower.vision_model` in released files, as `vision_tower` in those that transformers 5 writes.
_TOWER = {"vision_tower.": "vision_tower.vision_model."}

FAMILIES = {
    "qwen2.5-vl": Family("qwen2.5-vl", _QWEN_IMAGE, _QWEN, _qwen2_5_vl),
    "qwen3-vl": Family("qwen3-vl", _QWEN_IMAGE, _QWEN, _qwen3_vl),
    "qwen3.5": Family("qwen3-vl", _QWEN_IMAGE, _QWEN, _qwen3_5),
    "smolvlm2-500m": Family("smolvlm", "<image>", _SMOLVLM, _smolvlm(512, 16, 4)),
    "smolvlm2-2.2b": Family("smolvlm-2.2b", "<image>", _SMOLVLM, _smolvlm(384, 14, 3)),
    "idefics3": Family("idefics3", "<image>", _SMOLVLM, _smolvlm(364, 14, 2)),
    "internvl3": Family(
        "internvl",
        "<IMG_CONTEXT>\n",
        {
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
        _internvl,
        processor_changes={"crop_to_patches": False},
    ),
    "gemma-3": Family(
        "gemma-3",
        "<start_of_image>",
        {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"},
        _gemma3,
        # vLLM looks them up by name.
        words=("\n", "\n\n", "\n\n\n", "\n\n\n\n"),
        renamed=_TOWER,
    ),
    "llava-onevision": Family(
        "llava-onevision",
        "<image>\n",
        {"image_token": "<image>", "video_token": "<video>"},
        _llava_onevision,
        renamed=_TOWER,
    ),
    "mistral-small": Family(
        "mistral-small",
        "[IMG]",
        {"image_token": "[IMG]", "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]"},
        _mistral3,
        processor_changes={"patch_size": 14},
    ),
}


def _tokenizer(family: Family) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_MERGED, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train(_TEXTS, trainer)
    special = dict.fromkeys([*_CHAT, *family.special.values()])
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in family.words])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        chat_template=_TEMPLATE.replace("IMAGE", family.image),
        model_max_length=_POSITIONS,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens={name: token for name, token in family.special.items() if name.endswith("_token")},
    )


def _inclined(model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    """Make the ends of strings and answers likely, and white space unlikely.

    By chance alone a string, or the white space that JSON allows anywhere, would go on to the limit of its answer.

    The first number of each token's vector is the same, so what comes out of the last layer always has it; the output
    layer reads the quotation mark from it. Also where both layers share their weights.
    """
    with torch.no_grad():
        reads = model.get_output_embeddings().weight
        model.get_input_embeddings().weight[:, 0] = 0.5
        for token, more in (('"', 0.5), (tokenizer.eos_token, 0.2)):
            reads[tokenizer.convert_tokens_to_ids(token), 0] += more
        for number in range(len(tokenizer)):
            if not tokenizer.decode([number]).strip():
                reads[number, 0] -= 0.5


def make(name: str, folder: Path) -> None:
    """Write the checkpoint of a family into a folder."""
    torch.manual_seed(7)
    family = FAMILIES[name]
    tokenizer = _tokenizer(family)
    kind, settings, _ = PROCESSORS[family.processor]
    images = getattr(transformers, kind.removesuffix("Pil"))(**{**settings, **family.processor_changes})
    config, processor = family.make(tokenizer, images)
    processor.chat_template = tokenizer.chat_template
    model = transformers.AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    _inclined(model, tokenizer)
    model.generation_config = transformers.GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    if family.renamed:
        _rename(folder / "model.safetensors", family.renamed)


def _rename(file: Path, beginnings: dict[str, str]) -> None:
    from safetensors.torch import load_file, save_file

    def renamed(name: str) -> str:
        return next((new + name[len(old) :] for old, new in beginnings.items() if name.startswith(old)), name)

    save_file({renamed(name): weight for name, weight in load_file(file).items()}, file, metadata={"format": "pt"})


def main() -> None:
    """Make checkpoints."""
    folder, *names = sys.argv[1:]
    for name in names:
        make(name, Path(folder, name))


if __name__ == "__main__":
    main()
