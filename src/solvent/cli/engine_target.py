"""The engine of this process as a target of a measurement: requests join and leave a batch that decodes together.

A thread owns the model; the event loop hands it requests. A request that comes while others decode is read in at the
next step and then decodes with them. Tokens are greedy and none ends a text, so that lengths are those asked for.
Enter at `EngineTarget`.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from solvent.errors import EngineError
from solvent.measure.target import Answer, Clock, Request

if TYPE_CHECKING:
    from solvent.machine.engine.load import LanguageModel


@dataclass(slots=True)
class _Job:
    request: Request
    clock: Clock
    answer: Answer
    future: asyncio.Future[Answer]
    loop: asyncio.AbstractEventLoop
    sequence: Any = None
    token: int = 0

    def take(self, token: int) -> bool:
        """Adds a token; True where it was the last."""
        self.token = token
        self.answer.chunk_s.append(self.clock())
        self.answer.chunk_tok.append(1)
        if len(self.answer.chunk_s) < (self.request.max_output_tok or 1):
            return False
        self.answer.done_s = self.answer.chunk_s[-1]
        self.answer.output_tok = len(self.answer.chunk_s)
        self.answer.n_outputs = 1.0
        return True


class EngineTarget:
    """A loaded model. n_places: sequences together at most.   cache: their number format.   Raises: EngineError"""

    kind = "engine"

    def __init__(self, loaded: LanguageModel, n_places: int, cache: str = "f16") -> None:
        loaded.model.new_sequence(1, cache)
        self.name = loaded.name
        self._loaded = loaded
        self._n_places = n_places
        self._cache = cache
        self._waiting: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="solvent-engine", daemon=True)
        self._thread.start()

    def document(self) -> dict[str, Any]:
        """What is measured, JSON-ready. weight_format: the type of most of the matrices' bytes."""
        sizes: Counter[str] = Counter()
        for tensor in self._loaded.file.tensors.values():
            if len(tensor.shape) == 2:
                sizes[tensor.type] += tensor.data.nbytes
        formats = [name for name, _ in sizes.most_common()]
        about = self._loaded.document()
        return {
            "name": self.name, "kind": self.kind, "model": about["family"], "weight_format": formats[0],
            "weight_bytes": sizes.total(), "cache_format": self._cache, "batch": self._n_places,
            "activations": about["activations"], "threads": about["threads"], "kernel": about["kernel"],
        }  # fmt: skip

    async def answer(self, request: Request, clock: Clock) -> Answer:
        loop = asyncio.get_running_loop()
        now_s = clock()
        answer = Answer(request.id, request.at_s, now_s, started_s=now_s)
        job = _Job(request, clock, answer, loop.create_future(), loop)
        self._waiting.put(job)
        return await job.future

    def close(self) -> None:
        """Lets the thread end after its step."""
        self._closing = True
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        active: list[_Job] = []
        while not self._closing:
            while len(active) < self._n_places and (not active or not self._waiting.empty()):
                job = self._waiting.get()
                if job is None:
                    return
                self._guard([job], active, lambda job=job: [] if self._begin(job) else [job])
            if active:
                batch, active = active, []
                self._guard(batch, active, lambda batch=batch: self._step(batch))

    def _guard(self, jobs: list[_Job], active: list[_Job], work: Any) -> None:
        """Does work on jobs; those it returns go on, and a fault ends them all."""
        try:
            active.extend(work())
        except BaseException as error:
            for job in jobs:
                _call(job, job.future.set_exception, error)

    def _begin(self, job: _Job) -> bool:
        """Reads the prompt and makes the first token; True where it was the only one."""
        model, request = self._loaded.model, job.request
        if request.prompt is not None:
            tokens = self._loaded.tokens(request.prompt)
        else:
            draw = np.random.default_rng(list(request.id.encode()))
            tokens = draw.integers(0, model.config.n_vocab, request.prompt_tok or 1).tolist()
        job.answer.prompt_tok = len(tokens)
        n_needed = len(tokens) + (request.max_output_tok or 1)
        if n_needed > model.config.context:
            raise EngineError(
                request.id, f"{n_needed} tokens in and out", f"at most {model.config.context}, the context"
            )
        job.sequence = model.new_sequence(n_needed, self._cache)
        return self._take(job, model.greedy(job.sequence, tokens))

    def _step(self, batch: list[_Job]) -> list[_Job]:
        """One token of each; those that aren't done."""
        model = self._loaded.model
        if len(batch) == 1:
            found = [model.greedy(batch[0].sequence, batch[0].token)]
        else:
            rows = model.decode([job.sequence for job in batch], [job.token for job in batch])
            found = [int(np.argmax(row)) for row in rows]
        return [job for job, token in zip(batch, found, strict=True) if not self._take(job, token)]

    def _take(self, job: _Job, token: int) -> bool:
        if done := job.take(token):
            _call(job, job.future.set_result, job.answer)
        return done


def _call(job: _Job, set_it: Any, value: Any) -> None:
    """Hands a result to the event loop, which may have given the request up."""
    if not job.loop.is_closed():
        job.loop.call_soon_threadsafe(lambda: None if job.future.done() else set_it(value))
