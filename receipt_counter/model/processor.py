"""Everything between a picture with questions and the model's tensors; travels with the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from transformers import AutoTokenizer, GotOcr2ImageProcessorPil

from receipt_counter.data.images import read_image
from receipt_counter.errors import UserError
from receipt_counter.model import tokenizer as special
from receipt_counter.model.packing import PackedBatch, Segment, pack_segments
from receipt_counter.storage.files import read_json, write_json

FILE = "receipt_processor.json"


class ReceiptProcessor:
    """Letterboxes and normalises pictures, writes questions in InternVL's chat layout, packs batches.

    The layout, the same for the tiny and the pretrained model:
    `<|im_start|>user\\n<img><IMG_CONTEXT>...</img>\\n` (the prefix, shared by an image's questions), then
    `question<|im_end|>\\n<|im_start|>assistant\\nanswer<|im_end|>`.

    Args:
        tokenizer: a transformers tokenizer that knows InternVL's special tokens.
        image_size: side of the square the model sees, pixels.
        image_tokens: how many tokens stand for one image.
        max_text_length: most tokens of a question with its answer (the turn markers between them not counted).
            A question keeps its first `max_text_length // 2`, its answer what is then left; an answer that is cut
            has no end token. Answering cuts a question in the same place.
        image_mean: mean of each colour channel, 0 to 1.
        image_std: standard deviation of each colour channel.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        image_size: int,
        image_tokens: int,
        max_text_length: int,
        image_mean: Sequence[float],
        image_std: Sequence[float],
    ) -> None:
        self.tokenizer = tokenizer
        self.image_size = image_size
        self.image_tokens = image_tokens
        self.max_text_length = max_text_length
        self.image_mean = tuple(image_mean)
        self.image_std = tuple(image_std)
        ids = {token: tokenizer.convert_tokens_to_ids(token) for token in special.SPECIAL_TOKENS}
        self.image_token_id: int = ids[special.IMAGE_TOKEN]
        self.padding: int = ids[special.PAD]
        self.end: int = ids[special.TURN_END]
        self.end_tokens = (ids[special.TURN_END], ids[special.PAD])
        self._encoded: dict[str, list[int]] = {}  # training asks the same questions again and again
        newline, user, assistant = self._encode(["\n", "user\n", "assistant\n"])
        opening = [ids[special.TURN_START], *user, ids[special.IMAGE_START]]
        self.image_start = len(opening)
        self.prefix = [*opening, *[self.image_token_id] * image_tokens, ids[special.IMAGE_END], *newline]
        self._turn = [self.end, *newline, ids[special.TURN_START], *assistant]

    def pad_image(self, image: Image.Image) -> NDArray[np.uint8]:
        """Fits a picture into the square by adding borders, never by squashing it.

        Args:
            image: any size and mode.

        Returns:
            uint8 [S,S,3].
        """
        border = tuple(round(255 * mean) for mean in self.image_mean)
        side = (self.image_size, self.image_size)
        return np.asarray(ImageOps.pad(image.convert("RGB"), side, Image.Resampling.BICUBIC, color=border))

    def read_images(self, paths: Sequence[Path]) -> Tensor:
        """Read picture files, one after another, and fit each into the square.

        Returns:
            uint8 [B,S,S,3].

        Raises:
            UserError: a file is missing, truncated or no picture.
        """
        return torch.from_numpy(np.stack([self.pad_image(read_image(path)) for path in paths]))

    def normalise(self, pixels: NDArray[np.uint8] | Tensor) -> Tensor:
        """Turns bytes [B,S,S,3] into floats [B,3,S,S] with the mean and deviation the vision tower was trained on."""
        size = self.image_size
        tensor = torch.as_tensor(pixels)
        # One row of pixels at a time: a loop over three channels would be six times slower on a CPU.
        mean = torch.tensor(self.image_mean, device=tensor.device).repeat(size)
        std = torch.tensor(self.image_std, device=tensor.device).repeat(size)
        rows = torch.addcmul(-mean / std, tensor.reshape(-1, size, size * 3), 1 / (255 * std))
        return rows.view(-1, size, size, 3).permute(0, 3, 1, 2)

    def pack(
        self, pixels: Tensor, counts: Sequence[int], questions: Sequence[Sequence[tuple[str, str]]]
    ) -> PackedBatch:
        """Builds a training batch.

        Args:
            pixels: float [B,3,S,S] from `normalise`, or uint8 [B,S,S,3], which is normalised here.
            counts: class label of each image.
            questions: (question, answer) pairs of each image.

        Returns:
            The batch; `truncated` says how many texts were cut.
        """
        pairs = [pair for row in questions for pair in row]
        encoded = self._encode([text for pair in pairs for text in pair])
        segments = iter([self._segment(*both) for both in zip(encoded[::2], encoded[1::2], strict=True)])
        rows = [[next(segments) for _ in row] for row in questions]
        text = pack_segments(self.prefix, rows, self.padding)
        return PackedBatch(
            pixel_values=self.normalise(pixels) if pixels.dtype == torch.uint8 else pixels,
            input_ids=text.input_ids,
            position_ids=text.position_ids,
            attention_mask=text.attention_mask,
            labels=text.labels,
            counts=torch.tensor(counts),
            image_start=self.image_start,
            questions=len(pairs),
            truncated=sum(segment.truncated for row in rows for segment in row),
        )

    def prompts(self, questions: Sequence[str]) -> list[list[int]]:
        """Tokens of each question up to where its answer begins, without the prefix."""
        return [self._prompt(tokens) for tokens in self._encode(questions)]

    def decode(self, answers: Sequence[Sequence[int]]) -> list[str]:
        """Turns generated tokens into text."""
        return [str(self.tokenizer.decode(answer, skip_special_tokens=True)).strip() for answer in answers]

    def save_pretrained(self, directory: str | Path) -> None:
        """Writes the tokenizer, transformers' image processor config and what is this project's own."""
        folder = Path(directory)
        self.tokenizer.save_pretrained(folder)
        size = {"height": self.image_size, "width": self.image_size}
        GotOcr2ImageProcessorPil(
            size=size, image_mean=list(self.image_mean), image_std=list(self.image_std)
        ).save_pretrained(folder)
        own = ("image_size", "image_tokens", "max_text_length", "image_mean", "image_std")
        write_json(folder / FILE, {name: getattr(self, name) for name in own})

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> ReceiptProcessor:
        """Reads what `save_pretrained` wrote.

        Raises:
            UserError: the directory holds no saved processor.
        """
        folder = Path(directory)
        if not (folder / FILE).is_file():
            raise UserError(f"{folder}: no saved model here ({FILE} is missing)")
        return cls(AutoTokenizer.from_pretrained(folder, local_files_only=True), **read_json(folder / FILE))

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        new = list({text for text in texts if text not in self._encoded})
        if new:
            # A special token spelt out in a question is text, or a question could forge a turn or an image.
            encoded = self.tokenizer(new, add_special_tokens=False, split_special_tokens=True)
            self._encoded.update(zip(new, encoded["input_ids"], strict=True))
        return [self._encoded[text] for text in texts]

    def _prompt(self, question: list[int]) -> list[int]:
        return question[: self.max_text_length // 2] + self._turn

    def _segment(self, question: list[int], answer: list[int]) -> Segment:
        prompt = self._prompt(question)
        kept = len(prompt) - len(self._turn)
        whole = [*answer, self.end]
        cut = whole[: self.max_text_length - kept]
        return Segment(prompt, cut, truncated=kept < len(question) or len(cut) < len(whole))
