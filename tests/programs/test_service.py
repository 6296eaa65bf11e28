"""The example of a service, asked by a real client over a real socket."""

import asyncio
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CLIENTS, REQUESTS = 50, 2
BAD = {
    "not JSON": (b"{texts", 422, "body: Invalid JSON"),
    "no texts": (b"{}", 422, "texts: Field required"),
    "another key": (b'{"texts": ["a"], "label": "b"}', 422, "label: Extra inputs"),
    "a number": (b'{"texts": ["a", 1]}', 422, "texts.1: Input should be a valid string"),
    "none": (b'{"texts": []}', 422, "texts: List should have at least 1 item"),
    "too many": (b'{"texts": [' + b",".join([b'"a"'] * 33) + b"]}", 422, "at most 32 items"),
    "a long text": (b'{"texts": ["' + b"a" * 20_001 + b'"]}', 422, "at most 20000 characters"),
    "a long body": (b" " * (1 << 21), 413, "more than 1048576 bytes"),
    "half a character": (b'{"texts": ["\xf0\x9f"]}', 422, "body: Invalid JSON"),
}


@pytest.fixture
def service(monkeypatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import service

    return service


@contextmanager
def served(app, port):
    """Serves in a thread, with a socket of this machine; gives the address."""
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def same(found, expected):
    """Entities, whose scores may depend on the padding of the batch by rounding."""
    assert [{**one, "score": 0} for one in found] == [{**one, "score": 0} for one in expected]
    assert [one["score"] for one in found] == pytest.approx([one["score"] for one in expected], abs=1e-4)


def test_nothing_is_lost_under_load_and_bad_requests_harm_no_other(service, tiny_model, free_port):
    texts = [
        f"ana ruiz {number} flew to quito {'on a cessna ' * (number % 7)}"
        for number in range(CLIENTS * REQUESTS)
    ]
    expected = tiny_model.predict(texts)
    assert sum(map(bool, expected)) > len(texts) / 2
    batches: list[int] = []

    def predict(batch):
        batches.append(len(batch))
        return tiny_model.predict(batch)

    seconds: list[float] = []
    bad = list(BAD.values())

    async def client(number, http):
        for text, entities in list(zip(texts, expected, strict=True))[number::CLIENTS]:
            start = time.perf_counter()
            answer = await http.post("/predict", json={"texts": [text, ""]})
            seconds.append(time.perf_counter() - start)
            assert answer.status_code == 200, answer.text
            own, empty = answer.json()["entities"]
            same(own, entities)
            assert empty == []
        body, status, reason = bad[number % len(bad)]
        answer = await http.post("/predict", content=body)
        assert answer.status_code == status and reason in answer.json()["detail"], answer.text

    async def load(address):
        limits = httpx.Limits(max_connections=CLIENTS)
        async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as http:
            await asyncio.gather(*(client(number, http) for number in range(CLIENTS)))
            return (await http.get("/health")).json()

    with served(service.create_app(tiny_model, service.Batcher(predict)), free_port) as address:
        health = asyncio.run(load(address))
    assert health == {"status": "ok", "entity_types": tiny_model.entity_types, "waiting": 0}
    assert len(seconds) == len(texts) and sum(batches) == 2 * len(texts)
    assert len(batches) < len(texts)  # those that wait together go through the model together
    print(f"{CLIENTS} clients, {len(texts)} requests: p95 {1000 * np.percentile(seconds, 95):.0f} ms")


class Stub:
    """A model that waits until it may answer, and fails for one text."""

    entity_types = ["x"]

    def __init__(self) -> None:
        self.busy, self.may_go_on = threading.Event(), threading.Event()

    def predict(self, texts):
        self.busy.set()
        assert self.may_go_on.wait(20)
        if "boom" in texts:
            raise ValueError("boom")
        return [[{"word": text}] for text in texts]


def test_a_full_queue_refuses_and_a_text_that_fails_takes_no_other_along(service, free_port):
    stub = Stub()
    app = service.create_app(stub, service.Batcher(stub.predict, waiting=3))

    async def ask(address):
        async with httpx.AsyncClient(base_url=address, timeout=60) as http:

            def post(text):
                return asyncio.create_task(http.post("/predict", json={"texts": [text]}))

            async def until_waiting(number):
                while (await http.get("/health")).json()["waiting"] < number:
                    await asyncio.sleep(0.01)

            first = post("first")
            await asyncio.to_thread(stub.busy.wait, 20)
            tasks = []
            for number, text in enumerate(("a", "boom", "b"), start=1):
                tasks.append(post(text))
                await until_waiting(number)
            refused = await post("one too many")
            assert refused.status_code == 503 and "too many requests wait" in refused.json()["detail"]
            assert refused.headers["Retry-After"] == "1"
            stub.may_go_on.set()
            return [await first, *[await task for task in tasks]]

    with served(app, free_port) as address:
        answers = asyncio.run(ask(address))
    assert [answer.status_code for answer in answers] == [200, 200, 500, 200]
    good = [answer.json()["entities"] for answer in answers if answer.status_code == 200]
    assert good == [[[{"word": word}]] for word in ("first", "a", "b")]


def test_the_program_serves_what_it_is_given(service, tiny_model, monkeypatch):
    started: list[Any] = []
    monkeypatch.setattr(service, "load_predictor", {"folder": tiny_model}.__getitem__)
    monkeypatch.setattr(uvicorn, "run", lambda app, **settings: started.append((app, settings)))
    service.main(["folder", "--port", "1234", "--threshold", "0.9"])
    [(app, settings)] = started
    assert settings["host"] == "127.0.0.1" and settings["port"] == 1234
    paths = app.openapi()["paths"]
    assert set(paths) == {"/health", "/predict"}
    assert "texts" in str(paths["/predict"]["post"]["requestBody"])


def test_wrong_arguments_are_told_before_it_serves(service, tiny_model, tmp_path, capsys):
    tiny_model.save_pretrained(tmp_path / "model")
    for arguments, message in (
        ([tmp_path / "none"], "cannot load the checkpoint"),
        ([tmp_path / "model", "--threshold", 3], "threshold is 3.0: give a number, from 0 to 1"),
    ):
        with pytest.raises(SystemExit) as stop:
            service.main(list(map(str, arguments)))
        assert stop.value.code == 2 and f"error: {message}" in capsys.readouterr().err
