"""What is logged, as something that can be counted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from wsgi_async.logs import measures
from wsgi_async.logs.setup import access_logger, app_logger, logger


class Kept:
    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def logged(self, level: str) -> None:
        self.told.append((level,))

    def measured(self, name: str, value: object, kind: str) -> None:
        self.told.append((name, value, kind))


@pytest.fixture
def kept() -> Iterator[Kept]:
    kept = Kept()
    measures.measure(kept)
    yield kept
    measures.measure(None)
    assert logger.filters == []


def test_warnings_and_errors_by_level(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logger.debug("no")
    logger.info("no")
    logger.warning("a")
    logger.error("b")
    try:
        raise ValueError
    except ValueError:
        logger.exception("c")
    logger.critical("d")
    assert kept.told == [("warning",), ("error",), ("exception",), ("critical",)]
    assert [record.getMessage() for record in caplog.records] == ["no", "no", "a", "b", "c", "d"]


def test_other_loggers_are_others(kept: Kept) -> None:
    """A line of the access log costs nothing for it, and an application's text is its own."""
    access_logger.error("a")
    app_logger.error("a")
    assert kept.told == []


def test_what_a_record_has_measured(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    extra = {"metric": "shop.sold", "value": 0, "mtype": "counter"}
    logger.info("sold", extra=extra)
    logger.info("", extra=extra)
    assert kept.told == [("shop.sold", 0, "counter")] * 2
    assert [record.getMessage() for record in caplog.records] == ["sold"]


@pytest.mark.parametrize("lacks", ["metric", "value", "mtype"])
def test_a_record_that_lacks_a_part_is_a_record(
    kept: Kept, caplog: pytest.LogCaptureFixture, lacks: str
) -> None:
    caplog.set_level(logging.INFO)
    extra = {"metric": "a", "value": 1, "mtype": "gauge"}
    del extra[lacks]
    logger.info("", extra=extra)
    assert kept.told == []
    assert len(caplog.records) == 1


def test_a_hooks_logger_measures_below_the_level_too(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    """gunicorn's does, and says its own number of workers so."""
    caplog.set_level(logging.INFO)
    extra = {"metric": "a", "value": 1, "mtype": "gauge"}
    measures.debug("not %s", "logged", extra=extra)
    measures.info("%s", "logged", extra=extra)
    assert kept.told == [("a", 1, "gauge")] * 2
    assert [record.getMessage() for record in caplog.records] == ["logged"]
    measures.debug("without", extra={"x": 1})
    measures.log(logging.DEBUG, "without")
    assert len(kept.told) == 2


def test_nobody_who_asks_costs_nothing() -> None:
    assert logger.filters == []
    measures.measure(None)
    assert logger.filters == []
