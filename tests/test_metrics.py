"""The figures for monitoring: right, in the format that Prometheus reads, and for nobody without the token."""

from __future__ import annotations

import re
from typing import Any

import pytest

from consentmw.events import Count
from consentmw.pages.metrics import METRICS_VARIABLE

from .asgi import App, body, http_scope, run
from .mounted import mounted

TOKEN = "a-token-that-nobody-guesses"
COUNT = Count(1_800_000_000, "page", "/", "2xx")


async def asked(monkeypatch: pytest.MonkeyPatch, sent: str | None, token: str = TOKEN, **options: Any) -> list[Any]:
    monkeypatch.setenv(METRICS_VARIABLE, token)
    site = mounted(App(), **options)
    site.recorder._drop("queue full", 3)
    site.recorder._drop("spool full")
    site.recorder.put(COUNT)
    headers = [("authorization", sent)] if sent is not None else []
    return await run(site, http_scope("/privacy/metrics", headers=headers))


async def test_the_figures_are_in_the_text_format(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = await asked(monkeypatch, f"Bearer {TOKEN}", flush_seconds=60)
    assert sent[0]["status"] == 200
    text = body(sent).decode()
    assert 'consentmw_recorder_dropped_total{reason="queue full"} 3\n' in text
    assert 'consentmw_recorder_dropped_total{reason="spool full"} 1\n' in text
    assert "consentmw_recorder_waiting 1\n" in text
    assert "consentmw_store_behind 0\n" in text
    for line in text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) consentmw_\w+ .+|consentmw_\w+(\{reason="[a-z ]+"\})? \d+', line), line


@pytest.mark.parametrize(
    "sent", [None, "", "Bearer ", "Bearer wrong", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN} ", "Bearer é\x00"]
)
async def test_without_the_token_there_is_no_such_page(monkeypatch: pytest.MonkeyPatch, sent: str | None) -> None:
    assert (await asked(monkeypatch, sent))[0]["status"] == 404


@pytest.mark.parametrize("token", ["", "short", " " * 40])
async def test_a_token_that_could_be_guessed_opens_nothing(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    assert (await asked(monkeypatch, f"Bearer {token}", token))[0]["status"] == 404
