"""Train the demo model from nothing, on the CPU, in two phases.

    python -m demo_model.train --data .local/training --out include/demo_model

1. *See*: the vision part alone, with a throw-away head that says of every patch which region it belongs to and what is
   in it. Binding a number to what is in its box is the hard part; this teaches it directly.
2. *Tell*: all parts together, with the answers' text. Loss on the answer only. Most questions are about all regions of
   an image, the others about one, with its close-up; some give labels. Of each image it is also asked, as a listener,
   which region a caption describes.

With `--start FOLDER` only the second phase is run, from the weights in FOLDER: enough where marks have changed a
little. The run can be stopped and started again: it goes on from its last checkpoint.
"""

import argparse
import io
import math
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import Idefics3ForConditionalGeneration, PreTrainedTokenizerFast
from transformers.models.llama.modeling_llama import rotate_half

from demo_model.data import CHUNK, Sample, make_sample
from demo_model.model import (
    GRID,
    HEAD,
    IMAGE,
    IMAGE_TOKENS,
    PATCH,
    PICTURE,
    SHUFFLE,
    VISION_WIDTH,
    free_text,
    go_on,
    make_model,
    make_tokenizer,
    prompt,
    save,
    structured,
    which,
)
from demo_model.questions import hint, listen, nearest
from demo_model.world import COLOURS, MAX_REGIONS, SHAPES, SIZES, TEXTURES
from regioncap.captions.prompts import NO_REGION
from regioncap.regions.boxes import Box

BATCH = 32
# What a patch's attributes are told apart into: size, texture, colour, shape.
_KINDS = (len(SIZES), len(TEXTURES), len(COLOURS), len(SHAPES))
_UNLABELLED = -100
# Held-out samples for the log come from a series that training never draws.
_LOG_SEED = 2
_LOG_SAMPLES = 256
# The share of questions that are about one region, with its close-up.
_ASKED_ALONE = 3 / 8
# Labels are given with questions of these batches: sentences of one batch should be of one length. With which of them,
# by whether the picture is poor: where all can be seen, labels teach nothing.
_WITH_LABELS = 0.5
_LABELLED = {False: 0.5, True: 0.9}
# How many captions a listener is asked of for each image. They share what is seen of it, and their answers are short.
_HEARD = 3
# The layer of whose first head it is taught directly where a listener looks: binding is hard here as well. Of the
# second, where it looks for the label of a thing whose shape it is about to say.
_LOOKS = 1


@dataclass(frozen=True)
class Batch:
    """B samples, the first C of which are asked about one region, with its close-up.

    `pixels` (B + C, 3, 256, 256) in -1..1 holds the marked images, then the close-ups; `patches` (B + C, 256, 5) says
    of each of their patches: region (0 for none), then the four attributes. `hints` are the regions that have a label
    in what stands after each sample's question, and that; `heard` are captions about each and whose they are, equally
    many for each sample.
    """

    samples: list[Sample]
    pixels: Tensor
    patches: Tensor
    hints: list[tuple[list[int], str]]
    heard: list[list[tuple[str, str]]]

    @property
    def crops(self) -> int:
        """C."""
        return len(self.pixels) - len(self.samples)

    def regions(self, sample: int) -> list[int]:
        """Which regions a sample's question for captions is about."""
        about = self.samples[sample]
        return [about.asked] if sample < self.crops else list(range(1, len(about.captions) + 1))

    def pictures(self, sample: int) -> list[int]:
        """Which of the pixels show a sample, in the order in which they are shown."""
        return [sample, len(self.samples) + sample] if sample < self.crops else [sample]


class Seer(nn.Module):
    """The throw-away head: from each patch's features, its region and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.Linear(VISION_WIDTH, 1 + MAX_REGIONS + sum(_KINDS))

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """(B, 256, width) to five tensors of logits (B, 256, classes)."""
        return self.heads(features).split([1 + MAX_REGIONS, *_KINDS], dim=-1)


def patch_labels(regions: Iterable[tuple[int, Box, np.ndarray]]) -> np.ndarray:
    """For each patch the region (number, box in pixels, attributes) that its middle lies in, 0 for none: (256, 5)."""
    labels = np.full((GRID, GRID, 5), _UNLABELLED, dtype=np.int64)
    labels[:, :, 0] = 0
    middle = (np.arange(GRID) + 0.5) * PATCH
    for region, (x0, y0, x1, y1), kinds in regions:
        rows, columns = (middle >= y0) & (middle < y1), (middle >= x0) & (middle < x1)
        labels[np.ix_(rows, columns)] = np.concatenate([[region], kinds])
    return labels.reshape(GRID * GRID, 5)


def labels_of(sample: Sample) -> np.ndarray:
    """The patch labels of the marked image."""
    return patch_labels(zip(range(1, len(sample.boxes) + 1), sample.boxes, sample.attributes, strict=True))


def close_up_labels(sample: Sample) -> np.ndarray:
    """The patch labels of the close-up. It shows everything at one size, so size is not to be seen in it."""
    kinds = sample.attributes[sample.asked - 1].copy()
    kinds[0] = _UNLABELLED
    return patch_labels([(sample.asked, sample.close_up_box, kinds)])


def make_batch(samples: list[Sample], rng: np.random.Generator) -> Batch:
    """Decode and label, and draw what is asked."""
    with_labels = rng.random() < _WITH_LABELS
    hints = [
        hint(sample.attributes, rng) if with_labels and rng.random() < _LABELLED[sample.poor] else ([], "")
        for sample in samples
    ]
    heard = [[listen(sample.attributes, rng) for _ in range(_HEARD)] for sample in samples]
    asked_alone = samples[: round(_ASKED_ALONE * len(samples))]
    jpegs = [sample.jpeg for sample in samples] + [sample.crop for sample in asked_alone]
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(jpeg))) for jpeg in jpegs])
    scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    patches = [labels_of(sample) for sample in samples] + [close_up_labels(sample) for sample in asked_alone]
    return Batch(samples, scaled, torch.from_numpy(np.stack(patches)), hints, heard)


def batches(folder: Path, first_step: int) -> Iterator[Batch]:
    """Endless batches in an order that depends on the step alone; decoded ahead on another thread."""
    ahead: queue.Queue[Batch] = queue.Queue(maxsize=8)

    def fill() -> None:
        rng = np.random.default_rng([7, first_step])
        while True:
            # Several chunks at once, so that a batch mixes them; new ones are seen while they are still being rendered.
            paths = sorted(folder.glob("*.pickle"))
            picked = rng.choice(len(paths), size=min(8, len(paths)), replace=False)
            pool = [sample for number in picked for sample in pickle.loads(paths[number].read_bytes())]
            order = rng.permutation(len(pool))
            for start in range(0, len(order) - BATCH + 1, BATCH):
                ahead.put(make_batch([pool[at] for at in order[start : start + BATCH]], rng))

    threading.Thread(target=fill, daemon=True).start()
    while True:
        yield ahead.get()


def see(model: Idefics3ForConditionalGeneration, pixels: Tensor) -> Tensor:
    """The vision part's features, (B, 256, width)."""
    mask = torch.ones(len(pixels), GRID, GRID, dtype=torch.bool)
    return model.model.vision_model(pixel_values=pixels, patch_attention_mask=mask).last_hidden_state


def seeing_loss(seer: Seer, features: Tensor, patches: Tensor) -> tuple[Tensor, list[float]]:
    """Cross entropy over all patches' regions and attributes, and how often each is right where there is a region."""
    logits = seer(features)
    loss = torch.zeros(())
    right = []
    marked = patches[..., 0] > 0
    for kind, scores in enumerate(logits):
        labels = patches[..., kind]
        # A region's patches are few among all: they count more.
        weight = torch.tensor([0.3] + [1.0] * MAX_REGIONS) if kind == 0 else None
        loss = loss + functional.cross_entropy(
            scores.flatten(0, 1), labels.flatten(), weight=weight, ignore_index=_UNLABELLED
        )
        right.append((scores.argmax(-1) == labels)[marked].float().mean().item())
    return loss, right


@dataclass(frozen=True)
class Read:
    """What was read off a batch: of each of N tokens of answers, the logits (N, V), which it is, and of which question.

    The first B questions are for captions, one for each image; the others a listener's, and `looked` (Q, 64) is how
    much of its attention each of these had on each place of its image. `looked_up` (L) is how much of it each shape's
    word had on its label, where there is one, and `copied` (L) what it costs that the head which looks there does not
    say the label.
    """

    logits: Tensor
    tokens: Tensor
    questions: Tensor
    images: int
    looked: Tensor
    looked_up: Tensor
    copied: Tensor

    def loss(self, *, heard: bool) -> Tensor:
        """Cross entropy, the mean of the questions for captions or of a listener's; of each, that of its tokens."""
        picked = (self.questions >= self.images) == heard
        cost = functional.cross_entropy(self.logits[picked].float(), self.tokens[picked], reduction="none")
        # By question: an answer about one region is as much worth as a long one about ten.
        _, question, tokens = self.questions[picked].unique(return_inverse=True, return_counts=True)
        return (cost / tokens[question]).sum() / len(tokens)

    def right(self) -> Tensor:
        """Which answers are right in every token, as 0 or 1, in the order of their questions."""
        wrong = (self.logits.argmax(-1) != self.tokens).float()
        return (torch.zeros(int(self.questions.max()) + 1).index_add(0, self.questions, wrong) == 0).float()


def read(
    model: Idefics3ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    features: Tensor,
    batch: Batch,
    as_json: list[bool],
) -> Read:
    """Read all answers off the features.

    The questions about an image stand one after another behind it; each sees the image and itself, at the places that
    it would have if it stood alone. So the image is read once.
    """
    begin, end = tokenizer(PICTURE)["input_ids"], tokenizer.eos_token
    image = tokenizer.convert_tokens_to_ids(IMAGE)
    ids: list[Tensor] = []
    parts: list[Tensor] = []
    places: list[Tensor] = []
    labels: list[Tensor] = []
    shapes = {tokenizer.convert_tokens_to_ids(f"Ġ{shape}") for shape in SHAPES}
    # Where shapes are said, less one place, and their labels: (sample, column, column).
    told: list[tuple[int, int, int]] = []
    for sample in range(len(batch.samples)):
        line, part, steps, label = list(begin), [-1] * len(begin), list(range(len(begin))), [-1] * len(begin)
        for number, question, answer, begun in questions(batch, sample, as_json[sample]):
            asked, said = tokenizer(question)["input_ids"], tokenizer(answer + end)["input_ids"]
            if number == sample:
                given = dict(zip(batch.hints[sample][0], _places(asked, shapes, len(line)), strict=True))
                own = zip(batch.regions(sample), _places(said, shapes, len(line) + len(asked)), strict=True)
                told += [(sample, at - 1, given[region]) for region, at in own if region in given]
            line += asked + said
            part += [number] * (len(asked) + len(said))
            steps += range(len(begin), len(begin) + len(asked) + len(said))
            # What the server's grammar begins, not the model, is nothing to learn.
            label += [-1] * (len(asked) + begun) + [number] * (len(said) - begun)
        for rows, row in ((ids, line), (parts, part), (places, steps), (labels, label)):
            rows.append(torch.tensor(row))
    padded = [pad_sequence(ids, batch_first=True, padding_value=tokenizer.pad_token_id)]
    padded += [pad_sequence(rows, batch_first=True, padding_value=-1) for rows in (parts, labels)]
    tokens, part, label = padded
    place = pad_sequence(places, batch_first=True)
    seen = ((part[:, None] == part[:, :, None]) | (part[:, None] == -1)).tril()
    order = [picture for at in range(len(batch.samples)) for picture in batch.pictures(at)]
    embedded = model.model.text_model.get_input_embeddings()(tokens)
    pictured = (tokens == image)[..., None]
    embedded = embedded.masked_scatter(pictured, model.model.connector(features)[order].to(embedded.dtype))
    hidden = model.model.text_model(
        inputs_embeds=embedded,
        attention_mask=seen[:, None],
        position_ids=place,
        output_hidden_states=True,
    )
    answered = label[:, 1:] >= 0
    logits = model.lm_head(hidden.last_hidden_state[:, :-1][answered])
    of = label[:, 1:][answered]
    # Where a listener's answers begin: their first tokens.
    begun = torch.cat([torch.tensor([True]), of[1:] != of[:-1]]) & (of >= len(batch.samples))
    rows, columns = (where[begun] for where in answered.nonzero(as_tuple=True))
    attention = partial(_attention, model, hidden.hidden_states[_LOOKS], place, seen)
    looked = attention(0, (rows, columns))[:, begin.index(image) :][:, :IMAGE_TOKENS]
    lines, saying, label_at = torch.tensor(told, dtype=torch.long).reshape(-1, 3).unbind(dim=1)
    looked_up = attention(1, (lines, saying)).gather(1, label_at[:, None])[:, 0]
    said = model.lm_head(_passed_on(model, hidden.hidden_states[_LOOKS][lines, label_at]))
    copied = functional.cross_entropy(said.float(), tokens[lines, label_at], reduction="none")
    return Read(logits, tokens[:, 1:][answered], of, len(batch.samples), looked, looked_up, copied)


def _passed_on(model: Idefics3ForConditionalGeneration, hidden: Tensor) -> Tensor:
    """What the head that looks labels up adds to a token, of tokens (L, width) that it looks at alone: (L, width)."""
    layer = model.model.text_model.layers[_LOOKS]
    values = functional.linear(layer.input_layernorm(hidden), layer.self_attn.v_proj.weight[HEAD : 2 * HEAD])
    return functional.linear(values, layer.self_attn.o_proj.weight[:, HEAD : 2 * HEAD])


def _places(ids: Sequence[int], words: Collection[int], first: int) -> list[int]:
    """The columns of these words in a text that begins at column `first`."""
    return [first + at for at, word in enumerate(ids) if word in words]


def _attention(
    model: Idefics3ForConditionalGeneration,
    hidden: Tensor,
    place: Tensor,
    seen: Tensor,
    head: int,
    asking: tuple[Tensor, Tensor],
) -> Tensor:
    """How much some tokens, at these rows and columns, look at each column: (Q, T).

    It is what a head of the layer has that `hidden` goes into.
    """
    text = model.model.text_model
    layer = text.layers[_LOOKS]
    shown = layer.input_layernorm(hidden)
    cos, sin = text.rotary_emb(hidden, place)
    part = slice(head * HEAD, (head + 1) * HEAD)
    keys = _turned(functional.linear(shown, layer.self_attn.k_proj.weight[part]), cos, sin)
    queries = _turned(functional.linear(shown[asking], layer.self_attn.q_proj.weight[part]), cos[asking], sin[asking])
    scores = torch.einsum("qd,qtd->qt", queries, keys[asking[0]]) / math.sqrt(HEAD)
    return scores.masked_fill(~seen[asking], -torch.inf).softmax(dim=-1)


def _turned(vectors: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Queries or keys turned by their places."""
    vectors = vectors.float()
    return vectors * cos + rotate_half(vectors) * sin


def looking_loss(looked: Tensor, batch: Batch) -> Tensor:
    """What it costs that a listener does not look at the regions that its caption fits best."""
    patches = batch.patches[: len(batch.samples), :, 0].view(-1, GRID // SHUFFLE, SHUFFLE, GRID // SHUFFLE, SHUFFLE)
    regions = patches.permute(0, 1, 3, 2, 4).reshape(len(batch.samples), IMAGE_TOKENS, -1)
    right = []
    for sample, region, questions in zip(batch.samples, regions, batch.heard, strict=True):
        for caption, _ in questions:
            best = torch.tensor(nearest(sample.attributes, caption))
            right.append(torch.isin(region, best).any(dim=-1))
    return -(looked * torch.stack(right)).sum(dim=-1).clamp_min(1e-6).log().mean()


def look_up_loss(answers: Read) -> Tensor:
    """What it costs that labels are not looked at, and not passed on; nothing where there are none."""
    cost = 0.5 * answers.copied - answers.looked_up.clamp_min(1e-6).log()
    return cost.sum() / max(1, len(cost))


def questions(batch: Batch, at: int, as_json: bool) -> Iterator[tuple[int, str, str, int]]:
    """What sample number `at` is asked: (number, text behind the image, answer, how many of its tokens are given)."""
    sample, alone = batch.samples[at], at < batch.crops
    captions = dict(enumerate(sample.captions, start=1))
    question = prompt(len(captions), sample.asked if alone else None, batch.hints[at][1])
    captions = {region: captions[region] for region in batch.regions(at)}
    # A JSON answer is begun by the grammar: its first token would only contradict free text.
    yield at, question, structured(captions) if as_json else free_text(captions), int(as_json)
    for number, (caption, said) in enumerate(batch.heard[at]):
        yield len(batch.samples) + at * len(batch.heard[at]) + number, which(caption), said, 0


def half_precision() -> torch.autocast:
    """Multiply in bfloat16, over float32 weights, where the processor can: faster there, and slower elsewhere."""
    processor = torch.cpu.get_capabilities()
    able = processor.get("avx512_bf16", False) or processor.get("amx_bf16", False)
    return torch.autocast("cpu", torch.bfloat16, enabled=able)


def rate(step: int, steps: int, peak: float, floor: float, warm_up: int) -> float:
    """Warm up, then fall along a cosine to `floor * peak`."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


@torch.no_grad()
def held_out(
    model: Idefics3ForConditionalGeneration, seer: Seer, tokenizer: PreTrainedTokenizerFast, batch: Batch
) -> str:
    """A line for the log: how often patches and whole captions are right on samples that are never trained on."""
    model.eval()
    features = see(model, batch.pixels)
    _, right = seeing_loss(seer, features, batch.patches)
    good = read(model, tokenizer, features, batch, [True] * len(batch.samples)).right()
    heard = good[len(batch.samples) :]
    own = torch.tensor([said != NO_REGION for questions in batch.heard for _, said in questions])
    model.train()
    alone, joint = good[: batch.crops].mean().item(), good[batch.crops : len(batch.samples)].mean().item()
    return (
        f"held out: region {right[0]:.3f} size {right[1]:.3f} texture {right[2]:.3f} colour {right[3]:.3f} "
        f"shape {right[4]:.3f} | whole answers, joint {joint:.3f}, per region {alone:.3f} | "
        f"heard, a region's {heard[own].mean().item():.3f}, none's {heard[~own].mean().item():.3f}"
    )


def train(data: Path, out: Path, checkpoint: Path, see_steps: int, tell_steps: int, start: Path | None) -> None:
    """Train both phases, or with `start` the second one only, and save the model to `out`."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    model, seer = make_model(tokenizer), Seer()
    if start is not None:
        go_on(model, tokenizer, start)
        see_steps = 0
    # What is known already is lost at the full rate.
    caution = 1.0 if start is None else 0.5
    vision = list(model.model.vision_model.parameters())
    seen = {id(parameter) for parameter in vision}
    text = [parameter for parameter in model.parameters() if id(parameter) not in seen]
    optimizer = torch.optim.AdamW(
        [{"params": vision + list(seer.parameters())}, {"params": text}], betas=(0.9, 0.98), weight_decay=0.05
    )
    step = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        seer.load_state_dict(state["seer"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    log_samples = [make_sample(_LOG_SEED, index) for index in range(_LOG_SAMPLES)]
    log_batch = make_batch(log_samples, np.random.default_rng(_LOG_SEED))
    coin = np.random.default_rng([11, step])
    started, first = time.monotonic(), step
    model.train()
    for batch in batches(data, step):
        telling = step >= see_steps
        if telling:
            at = step - see_steps
            optimizer.param_groups[0]["lr"] = rate(at, tell_steps, caution * 4e-4, 0.01, 100)
            optimizer.param_groups[1]["lr"] = rate(at, tell_steps, caution * 2e-3, 0.01, 100)
        else:
            optimizer.param_groups[0]["lr"] = rate(step, see_steps + tell_steps, 1.5e-3, 0.1, 300)
            optimizer.param_groups[1]["lr"] = 0.0
        with half_precision():
            features = see(model, batch.pixels)
            if telling:
                as_json = list(coin.random(len(batch.samples)) < 0.6)
                answers = read(model, tokenizer, features, batch, as_json)
        # A fresh head has nothing to teach to weights that know already.
        taught = features.float() if start is None or step >= 200 else features.float().detach()
        loss, right = seeing_loss(seer, taught, batch.patches)
        told = heard = looked = looked_up = 0.0
        if telling:
            caption_loss, number_loss = answers.loss(heard=False), answers.loss(heard=True)
            told, heard, looked = caption_loss.item(), number_loss.item(), looking_loss(answers.looked, batch).item()
            looked_up = look_up_loss(answers).item()
            # Once the text part reads well, what counts is the answer.
            loss = 0.3 * loss + 2.0 * caption_loss + 1.0 * number_loss + 0.5 * looking_loss(answers.looked, batch)
            loss = loss + 0.5 * look_up_loss(answers)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 50 == 0:
            speed = (step - first) * BATCH / (time.monotonic() - started)
            print(
                f"step {step:,} loss {loss.item():.3f} answer {told:.4f} heard {heard:.4f} "
                f"looks {looked:.4f} {looked_up:.4f} "
                f"region {right[0]:.3f} texture {right[2]:.3f} colour {right[3]:.3f} shape {right[4]:.3f} | "
                f"{speed:.1f} images/s",
                flush=True,
            )
        last = step >= see_steps + tell_steps
        if step % 250 == 0 or last:
            print(held_out(model, seer, tokenizer, log_batch), flush=True)
        if step % 50 == 0 or last:
            state = {"model": model.state_dict(), "seer": seer.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**state, "step": step}, checkpoint.with_suffix(".partial"))
            checkpoint.with_suffix(".partial").rename(checkpoint)
        if last:
            break
    save(model, tokenizer, out)
    print(f"saved to {out}")


def main() -> None:
    """Render what training data is missing, then train."""
    parser = argparse.ArgumentParser(description="Train the demo model from nothing.")
    parser.add_argument("--data", type=Path, default=Path(".local/training"), help="training data and checkpoints")
    parser.add_argument("--images", type=int, default=60_000, help="how many images to train on")
    parser.add_argument("--out", type=Path, default=Path("include/demo_model"), help="where the model is written")
    parser.add_argument("--start", type=Path, help="a folder with weights to go on from, without the first phase")
    parser.add_argument("--see-steps", type=int, default=6_000, help="steps of the first phase")
    parser.add_argument("--tell-steps", type=int, default=2_400, help="steps of the second phase")
    arguments = parser.parse_args()
    if len(list(arguments.data.glob("*.pickle"))) < arguments.images // CHUNK:
        render = ["-m", "demo_model.data", "--out", str(arguments.data), "--images", str(arguments.images)]
        subprocess.run([sys.executable, *render], check=True)
    checkpoint = arguments.data / ("continued.pt" if arguments.start else "checkpoint.pt")
    train(arguments.data, arguments.out, checkpoint, arguments.see_steps, arguments.tell_steps, arguments.start)


if __name__ == "__main__":
    main()
