"""What all maps of a call share: words, model, budget; weights are loaded for the first map."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from rsov.errors import UsageError
from rsov.jobs.options import OptionError

if TYPE_CHECKING:
    from rsov.jobs.options import PredictOptions
    from rsov.models.protocol import Embed, Head, ModelCard, Segmenter
    from rsov.types import Background, Legend, Notices

EVERYWHERE = frozenset({"auto", "cpu"})
"""Devices that are there without asking torch, whose import takes longer than a whole plan."""


@dataclass
class Tools:
    """Made by :meth:`prepare`; ``background``, ``segmenter`` and ``head`` are there after :meth:`load`.

    ``budget`` is bytes of memory, ``threads`` the processors that the run may use.
    """

    legend: Legend
    options: PredictOptions
    card: ModelCard
    segmenter: Segmenter | None
    budget: int
    threads: int
    notices: Notices
    background: Background | None = None
    head: Head | None = None

    @classmethod
    def prepare(
        cls, legend: Legend, options: PredictOptions, segmenter: Segmenter | None, notices: Notices
    ) -> Tools:
        """Check what words and options say about model, device and memory; loads no weights.

        Raises:
            RsovError: no such model or device, a wrong background file, a size that is none.
        """
        from rsov.engine.budget import cpu_count, memory_budget
        from rsov.models.registry import model_card
        from rsov.text.background import choose_background

        try:
            budget = memory_budget(options.max_memory)
        except UsageError as error:
            raise OptionError("max_memory", error.what, fix=error.fix, id=error.id) from error
        threads = options.jobs or cpu_count()
        card = model_card(options.model) if segmenter is None else segmenter.card
        if segmenter is None and options.device not in EVERYWHERE:
            _require_device(options.device)
        tools = cls(legend, options, card, segmenter, budget, threads, notices)
        if options.background not in (None, "default"):
            tools.background = choose_background(legend, options.background, tools.embed)
        return tools

    @property
    def readers(self) -> int:
        """Reader threads: one keeps up with a network on few cores."""
        return max(1, min(4, self.threads // 2))

    @cached_property
    def embed(self) -> Embed:
        """Texts to vectors, cached on disk; the encoder starts at the first unknown text."""
        from rsov.text.cache import cache_home, sentence_embedder

        return sentence_embedder(cache_home(), self.notices)

    def load(self) -> tuple[Segmenter, Head]:
        """The loaded model and the head of the legend; the same at every call.

        torch is imported here, after the process was prepared for it.
        """
        from rsov.engine.runtime import start
        from rsov.models.registry import load_segmenter
        from rsov.text.background import choose_background

        if self.head is None:
            start(self.options.jobs)
        if self.background is None:
            self.background = choose_background(self.legend, self.options.background, self.embed)
        if self.segmenter is None:
            self.segmenter = load_segmenter(self.options.model, self.options.device, self.options.precision)
        if self.head is None:
            self.head = self.segmenter.head(self.legend, self.background, self.embed)
        return self.segmenter, self.head


def _require_device(device: str) -> None:
    from rsov.engine.runtime import prepare_environment

    prepare_environment()
    from rsov.models.backend import choose_device

    choose_device(device)
