"""Train the demo model from nothing, on the CPU, in two phases.

    python -m demo_model.train --data .local/training --out include/demo_model

1. *See*: the vision part alone, with a throw-away head that says of every patch which region it belongs to and what is
   in it. Binding a number to what is in its box is the hard part; this teaches it directly.
2. *Tell*: all parts together, with the answers' text. Loss on the answer only. Most questions are about all regions of
   an image, the others about one, with its close-up.

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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from transformers import Idefics3ForConditionalGeneration, PreTrainedTokenizerFast

from demo_model.data import CHUNK, Sample, make_sample
from demo_model.model import (
    GRID,
    IMAGE,
    PATCH,
    VISION_WIDTH,
    free_text,
    make_model,
    make_tokenizer,
    prompt,
    save,
    structured,
)
from demo_model.world import COLOURS, MAX_REGIONS, SHAPES, SIZES, TEXTURES
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


@dataclass(frozen=True)
class Batch:
    """B samples, the first C of which are asked about one region, with its close-up.

    `pixels` (B + C, 3, 256, 256) in -1..1 holds the marked images, then the close-ups; `patches` (B + C, 256, 5) says
    of each of their patches: region (0 for none), then the four attributes.
    """

    samples: list[Sample]
    pixels: Tensor
    patches: Tensor

    @property
    def crops(self) -> int:
        """C."""
        return len(self.pixels) - len(self.samples)


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


def make_batch(samples: list[Sample]) -> Batch:
    """Decode and label."""
    asked_alone = samples[: round(_ASKED_ALONE * len(samples))]
    jpegs = [sample.jpeg for sample in samples] + [sample.crop for sample in asked_alone]
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(jpeg))) for jpeg in jpegs])
    scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    patches = [labels_of(sample) for sample in samples] + [close_up_labels(sample) for sample in asked_alone]
    return Batch(samples, scaled, torch.from_numpy(np.stack(patches)))


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
                ahead.put(make_batch([pool[at] for at in order[start : start + BATCH]]))

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


def tell(
    model: Idefics3ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    features: Tensor,
    batch: Batch,
    as_json: list[bool],
) -> tuple[Tensor, Tensor]:
    """Read the answers' tokens off the features; returns logits (B, T, V) and labels (B, T), both shifted to match."""
    texts, prompts, pictures = [], [], []
    for at, (sample, json_answer) in enumerate(zip(batch.samples, as_json, strict=True)):
        captions = dict(enumerate(sample.captions, start=1))
        question = prompt(len(captions))
        pictures.append(at)
        if at < batch.crops:
            question = prompt(len(captions), sample.asked)
            captions = {sample.asked: captions[sample.asked]}
            pictures.append(len(batch.samples) + at)
        answer = structured(captions) if json_answer else free_text(captions)
        prompts.append(len(tokenizer(question)["input_ids"]))
        texts.append(question + answer + tokenizer.eos_token)
    encoded = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
    ids = encoded["input_ids"]
    labels = ids.clone()
    labels[encoded["attention_mask"] == 0] = _UNLABELLED
    for row, (length, json_answer) in enumerate(zip(prompts, as_json, strict=True)):
        # A JSON answer is begun by the server's grammar, not by the model: its first token is nothing to learn, and
        # would only contradict free text.
        labels[row, : length + (1 if json_answer else 0)] = _UNLABELLED
    embedded = model.model.text_model.get_input_embeddings()(ids)
    seen = model.model.connector(features)[pictures]
    places = (ids == tokenizer.convert_tokens_to_ids(IMAGE))[..., None]
    embedded = embedded.masked_scatter(places, seen.to(embedded.dtype))
    hidden = model.model.text_model(inputs_embeds=embedded, attention_mask=encoded["attention_mask"]).last_hidden_state
    return model.lm_head(hidden[:, :-1]), labels[:, 1:]


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
    logits, labels = tell(model, tokenizer, features, batch, [True] * len(batch.samples))
    good = ((logits.argmax(-1) == labels) | (labels == _UNLABELLED)).all(-1).float()
    model.train()
    alone, joint = good[: batch.crops].mean().item(), good[batch.crops :].mean().item()
    return (
        f"held out: region {right[0]:.3f} size {right[1]:.3f} texture {right[2]:.3f} colour {right[3]:.3f} "
        f"shape {right[4]:.3f} | whole answers, joint {joint:.3f}, per region {alone:.3f}"
    )


def train(data: Path, out: Path, checkpoint: Path, see_steps: int, tell_steps: int, start: Path | None) -> None:
    """Train both phases, or with `start` the second one only, and save the model to `out`."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    model, seer = make_model(tokenizer), Seer()
    if start is not None:
        model.load_state_dict(Idefics3ForConditionalGeneration.from_pretrained(start).float().state_dict())
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
    log_batch = make_batch([make_sample(_LOG_SEED, index) for index in range(_LOG_SAMPLES)])
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
                logits, labels = tell(model, tokenizer, features, batch, as_json)
        loss, right = seeing_loss(seer, features.float(), batch.patches)
        told = 0.0
        if telling:
            logits = logits.float()
            answer = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=_UNLABELLED)
            told = answer.item()
            # Once the text part reads well, what counts is the answer.
            loss = 0.3 * loss + 2.0 * answer
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 50 == 0:
            speed = (step - first) * BATCH / (time.monotonic() - started)
            print(
                f"step {step:,} loss {loss.item():.3f} answer {told:.4f} region {right[0]:.3f} texture {right[2]:.3f} "
                f"colour {right[3]:.3f} shape {right[4]:.3f} | {speed:.1f} images/s",
                flush=True,
            )
        if step % 500 == 0 or step == see_steps + tell_steps:
            print(held_out(model, seer, tokenizer, log_batch), flush=True)
            state = {"model": model.state_dict(), "seer": seer.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**state, "step": step}, checkpoint.with_suffix(".partial"))
            checkpoint.with_suffix(".partial").rename(checkpoint)
        if step >= see_steps + tell_steps:
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
