"""Serve a model over HTTP: the folder of an exported model, which needs no torch, or a checkpoint.

    python examples/service.py outputs/ner-onnx --port 8000
    curl localhost:8000/predict --json '{"texts": ["Ana Ruiz flew to Quito."]}'

Needs the extra `service`, and `runtime` for exported models. Requests that wait at the same time go through
the model as one batch. What is too long or malformed is refused with a reason; when too many requests wait,
others are asked to come back later. On the open internet, put a proxy with TLS and authentication before it.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from modeling_lacl.integrations.predictors import load_predictor

MOST_TEXTS = 32
MOST_CHARACTERS = 20_000
MOST_BYTES = 1 << 20
MOST_CONNECTIONS = 512

Text = Annotated[str, StringConstraints(max_length=MOST_CHARACTERS)]
Entities = list[dict[str, Any]]


class Query(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(strict=True, extra="forbid")
    texts: Annotated[list[Text], Field(min_length=1, max_length=MOST_TEXTS)]


@dataclass(frozen=True)
class Job:
    """A request that waits for its entities."""

    texts: list[str]
    answer: asyncio.Future[list[Entities]]


class Batcher:
    """Puts requests that wait at the same time through the model together, in a thread of its own.

    Args:
        predict: Function from texts to the entities of each.
        waiting: Most requests that wait; more are refused.
        texts: Texts from which on a batch takes no further request.
    """

    def __init__(self, predict: Any, waiting: int = 256, texts: int = 64) -> None:
        self.predict = predict
        self.texts = texts
        self.queue: asyncio.Queue[Job] = asyncio.Queue(waiting)
        self.thread = ThreadPoolExecutor(1)

    async def submit(self, texts: list[str]) -> list[Entities]:
        """Return the entities of each text; raise `asyncio.QueueFull` if too many requests wait."""
        job = Job(texts, asyncio.get_running_loop().create_future())
        self.queue.put_nowait(job)
        return await job.answer

    async def run(self) -> None:
        """Answer requests until it is cancelled."""
        while True:
            jobs = [await self.queue.get()]
            while not self.queue.empty() and sum(len(job.texts) for job in jobs) < self.texts:
                jobs.append(self.queue.get_nowait())
            # Who has hung up needs no answer.
            jobs = [job for job in jobs if not job.answer.done()]
            try:
                await self._answer(jobs)
            except Exception:
                for job in jobs:  # one by one, so that a text that fails takes no other along
                    try:
                        await self._answer([job])
                    except Exception as error:
                        if not job.answer.done():
                            job.answer.set_exception(error)

    async def _answer(self, jobs: Sequence[Job]) -> None:
        texts = [text for job in jobs for text in job.texts]
        found = iter(await asyncio.get_running_loop().run_in_executor(self.thread, self.predict, texts))
        for job in jobs:
            own = [next(found) for _ in job.texts]
            if not job.answer.done():
                job.answer.set_result(own)


def create_app(model: Any, batcher: Batcher) -> FastAPI:
    """Return the service: `/predict` and `/health`."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.worker = asyncio.create_task(batcher.run())
        yield
        app.state.worker.cancel()
        batcher.thread.shutdown(cancel_futures=True)

    app = FastAPI(title="LACL", lifespan=lifespan)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        if app.state.worker.done():
            raise HTTPException(503, "the worker has ended: restart the service")
        waiting = batcher.queue.qsize()
        return {"status": "ok", "entity_types": model.entity_types, "waiting": waiting}

    @app.post("/predict", openapi_extra=_body_schema())
    async def predict(request: Request) -> dict[str, list[Entities]]:
        query = await read_query(request)
        try:
            return {"entities": await batcher.submit(query.texts)}
        except asyncio.QueueFull:
            raise HTTPException(503, "too many requests wait: try again", {"Retry-After": "1"}) from None

    return app


async def read_query(request: Request) -> Query:
    """Read the body of a request, of which no more is kept in memory than is allowed.

    Raises:
        HTTPException: 413, the body is too long; 422, it is malformed, with the place and the reason.
    """
    body, size = bytearray(), 0
    async for part in request.stream():
        size += len(part)
        if size <= MOST_BYTES:
            body += part
        elif size > 16 * MOST_BYTES:
            break  # up to here the rest is read, and not kept: who is still sending would not see the answer
    if size > MOST_BYTES:
        raise HTTPException(413, f"the body has more than {MOST_BYTES} bytes: send fewer texts")
    try:
        return Query.model_validate_json(bytes(body))
    except ValidationError as error:
        reasons = [
            f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}"
            for one in error.errors(include_input=False, include_url=False)
        ]
        raise HTTPException(422, "; ".join(reasons[:3])) from None


def _body_schema() -> dict[str, Any]:
    content = {"application/json": {"schema": Query.model_json_schema()}}
    return {"requestBody": {"content": content, "required": True}}


def main(arguments: Sequence[str] | None = None) -> None:
    """Load a model and serve it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", help="folder of an exported model, or a checkpoint")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine only)"
    )
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--threshold", type=float, help="lowest score, as for predict")
    parser.add_argument("--overlap", default="flat", choices=["flat", "nested", "any"])
    options = parser.parse_args(arguments)
    try:
        model = load_predictor(options.model)
        predict = partial(model.predict, threshold=options.threshold, overlap=options.overlap)
        predict(["A first text, so that the first request does not wait."])
    except (ValueError, OSError, ModuleNotFoundError) as error:
        parser.error(str(error))
    app = create_app(model, Batcher(predict))
    uvicorn.run(app, host=options.host, port=options.port, limit_concurrency=MOST_CONNECTIONS)


if __name__ == "__main__":
    main()
