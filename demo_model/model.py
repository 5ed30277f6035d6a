"""The demo model's architecture, tokenizer and chat template: a stock Idefics3, only very small.

Idefics3 is a SigLIP-like vision transformer, a pixel shuffle, and a Llama. transformers and vLLM load it as it is.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    LlamaConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.idefics3.configuration_idefics3 import Idefics3VisionConfig

from demo_model.world import COLOURS, MAX_REGIONS, SHAPES, SIZES, TEXTURES
from regioncap.captions.prompts import NO_REGION, PROMPTS, crop_prompt, which_prompt
from regioncap.regions.names import region_label, region_name

SIDE, PATCH, SHUFFLE = 256, 16, 2
GRID = SIDE // PATCH
IMAGE_TOKENS = (GRID // SHUFFLE) ** 2
VISION_WIDTH, VISION_LAYERS, VISION_HEADS = 128, 5, 4
TEXT_WIDTH, TEXT_LAYERS, TEXT_HEADS = 160, 3, 5
# vLLM's attention kernels for the CPU want heads of 32, 64, 80, ... numbers.
HEAD = 32
VOCABULARY = 448
MAX_LENGTH = 1024

IMAGE, FAKE, GLOBAL, END, PAD = "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", "<pad>"

# The system message is left out: the model was never taught to read it, and its wording may change.
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}User:"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<end_of_utterance>\n"
    "{% elif message['role'] == 'assistant' %}Assistant:{{ message['content'] }}<end_of_utterance>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


_SHOWN = FAKE + GLOBAL + IMAGE * IMAGE_TOKENS + FAKE
# How every request begins.
PICTURE = f"User:{_SHOWN}"
# Words of the listener's question and of label hints, and its answers, that have tokens of their own beside the merges.
# An answer is one token, so that a server says how likely each is.
_WORDS = (
    *(region_label(MAX_REGIONS), NO_REGION, f" {NO_REGION}"),
    *("Which", " which", " does", " this", " describe", " describes", " Answer"),
    *(" with", " its", " number", " or", " if", " it", " them", "Labels", " that", " came", " some", " may", " be"),
    *(" wrong", " is"),
)


def prompt(regions: int, crop: int | None = None, hint: str = "") -> str:
    """The text that the chat template makes of RegionCap's request, behind the image.

    With `crop`, it is the request about that region alone; `hint` stands after the question about the image.
    """
    alone = _SHOWN + crop_prompt(crop, "en") if crop is not None else ""
    return f"{PROMPTS['en'].format(n=regions)}{hint}{alone}{END}\nAssistant:"


def which(caption: str) -> str:
    """The same of the listener's question."""
    return f"{which_prompt(caption, 'en')}{END}\nAssistant:"


def free_text(captions: Mapping[int, str]) -> str:
    """The answer about regions in free text: a line for each."""
    return "\n".join(f"{region_name(region)}: {caption}" for region, caption in captions.items())


def structured(captions: Mapping[int, str]) -> str:
    """The answer about regions as JSON."""
    return json.dumps({region_name(region): caption for region, caption in captions.items()})


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE on the world's own sentences: it can write any JSON, and has a token for each word and region."""
    captions = [
        f"a {size} {texture} {colour} {shape}"
        for size in SIZES
        for texture in TEXTURES
        for colour in COLOURS
        for shape in SHAPES
    ]
    answers = [dict(enumerate(captions[start : start + 5], start=1)) for start in range(0, len(captions), 5)]
    corpus = [free_text(answer) for answer in answers] + [structured(answer) for answer in answers]
    corpus += [PROMPTS["en"].format(n=n) for n in range(1, MAX_REGIONS + 1)] * 8 + ["User: Assistant:"] * 20
    regions = [AddedToken(region_name(k), normalized=False) for k in range(1, MAX_REGIONS + 1)]
    special = [AddedToken(token, special=True, normalized=False) for token in (PAD, END, IMAGE, FAKE, GLOBAL)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    # Region names have tokens of their own, so they are taken out before merges are learnt.
    for token in regions:
        corpus = [text.replace(token.content, "") for text in corpus]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(regions) - len(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_special_tokens(special)
    tokenizer.add_tokens(regions)
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in _WORDS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens={"image_token": IMAGE, "fake_image_token": FAKE, "global_image_token": GLOBAL},
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
    )


@torch.no_grad()
def go_on(model: Idefics3ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, start: Path) -> None:
    """Take over the weights in a folder. A word that had no token there begins as the mean of what it was cut into."""
    model.load_state_dict(Idefics3ForConditionalGeneration.from_pretrained(start).float().state_dict())
    before = PreTrainedTokenizerFast.from_pretrained(start)
    embeddings = model.get_input_embeddings().weight
    for word in range(len(before), len(tokenizer)):
        pieces = before(tokenizer.convert_ids_to_tokens(word), add_special_tokens=False)["input_ids"]
        embeddings[word] = embeddings[pieces].mean(dim=0)


def make_model(tokenizer: PreTrainedTokenizerFast) -> Idefics3ForConditionalGeneration:
    """A model with fresh weights; its vision part starts out knowing where a patch is, and looking around it."""
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in (PAD, END, IMAGE)}
    config = Idefics3Config(
        image_token_id=ids[IMAGE],
        pad_token_id=ids[PAD],
        scale_factor=SHUFFLE,
        tie_word_embeddings=True,
        vision_config=Idefics3VisionConfig(
            hidden_size=VISION_WIDTH,
            intermediate_size=4 * VISION_WIDTH,
            num_hidden_layers=VISION_LAYERS,
            num_attention_heads=VISION_HEADS,
            image_size=SIDE,
            patch_size=PATCH,
        ).to_dict(),
        text_config=LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=TEXT_WIDTH,
            intermediate_size=448,
            num_hidden_layers=TEXT_LAYERS,
            num_attention_heads=TEXT_HEADS,
            num_key_value_heads=TEXT_HEADS,
            head_dim=HEAD,
            max_position_embeddings=MAX_LENGTH,
            tie_word_embeddings=True,
            bos_token_id=ids[END],
            eos_token_id=ids[END],
            pad_token_id=ids[PAD],
        ).to_dict(),
    )
    config.bos_token_id = config.eos_token_id = ids[END]
    model = Idefics3ForConditionalGeneration(config)
    model.generation_config.eos_token_id = ids[END]
    model.generation_config.pad_token_id = ids[PAD]
    _teach_places(model)
    return model


# Wave lengths in patches, for the sine-cosine code of a patch's row and column.
_WAVES = torch.logspace(math.log10(3.0), math.log10(60.0), VISION_WIDTH // 4)
# Where each head of the first two layers looks at first, as (rows, columns) away: a tag is mostly above its box.
_GLANCES = (((-1, 0), (0, -1), (0, 1), (1, 0)), ((-2, 0), (-2, -2), (0, -2), (2, 0)))


@torch.no_grad()
def _teach_places(model: Idefics3ForConditionalGeneration) -> None:
    """Start with sine-cosine places and with heads that look a fixed step aside.

    With k a selection of the place code's waves and q the same waves turned by the step, q . k is largest where the
    key's place is the query's plus the step: sin(a + b) and cos(a + b) are turns of sin a and cos a.
    """
    vision = model.model.vision_model
    frequency = 2 * math.pi / _WAVES
    place = torch.arange(GRID).float()[:, None] * frequency
    code = torch.stack([place.sin(), place.cos()], dim=-1).flatten(1)
    rows = code[:, None].expand(GRID, GRID, -1)
    columns = code[None].expand(GRID, GRID, -1)
    vision.embeddings.position_embedding.weight.copy_(torch.cat([rows, columns], dim=-1).flatten(0, 1) * 0.5)
    waves = torch.linspace(0, len(_WAVES) - 1, HEAD // 4).round().int().tolist()
    for layer, glances in enumerate(_GLANCES):
        attention = vision.encoder.layers[layer].self_attn
        for head, step in enumerate(glances):
            q, k = torch.zeros(HEAD, VISION_WIDTH), torch.zeros(HEAD, VISION_WIDTH)
            for axis in (0, 1):
                for slot, wave in enumerate(waves):
                    at = axis * HEAD // 2 + 2 * slot
                    sine = axis * VISION_WIDTH // 2 + 2 * wave
                    turn = float(frequency[wave]) * step[axis]
                    k[at, sine] = k[at + 1, sine + 1] = 1.2
                    q[at, sine], q[at, sine + 1] = 1.2 * math.cos(turn), 1.2 * math.sin(turn)
                    q[at + 1, sine], q[at + 1, sine + 1] = -1.2 * math.sin(turn), 1.2 * math.cos(turn)
            part = slice(head * HEAD, (head + 1) * HEAD)
            attention.q_proj.weight[part] = q
            attention.k_proj.weight[part] = k


def save(model: Idefics3ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the folder that vLLM serves: bfloat16 weights, tokenizer, and an image processor that changes nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().to(torch.bfloat16) for name, tensor in model.state_dict().items()}
    model.save_pretrained(folder, state_dict=weights)
    config = json.loads((folder / "config.json").read_text())
    config["dtype"] = "bfloat16"
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    tokenizer.save_pretrained(folder)
    processor = {
        "image_processor_type": "Idefics3ImageProcessor",
        "processor_class": "Idefics3Processor",
        "do_convert_rgb": True,
        "do_resize": False,
        "do_image_splitting": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "do_pad": True,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "size": {"longest_edge": SIDE},
        "max_image_size": {"longest_edge": SIDE},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
    (folder / "processor_config.json").write_text(
        json.dumps({"processor_class": "Idefics3Processor", "image_seq_len": IMAGE_TOKENS}, indent=2) + "\n"
    )
