"""Shared fixtures: where real data lies, and small pictures."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

if "PYTEST_XDIST_WORKER_COUNT" in os.environ:  # before torch is imported: workers share the cores, also in what they start
    _share = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.environ |= {name: str(_share) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}

import pytest
import torch


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data; without MODICUM_TEST_DATA tests of real data are skipped, with it none may be."""
    folder = os.environ.get("MODICUM_TEST_DATA")
    if not folder:
        pytest.skip("MODICUM_TEST_DATA is not set: no real data here")
    return Path(folder)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where MODICUM_TEST_DATA is set, a test of real data that skips has failed."""
    report = yield
    real = "test_data" in getattr(item, "fixturenames", ())
    if report.skipped and real and os.environ.get("MODICUM_TEST_DATA") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} skipped although MODICUM_TEST_DATA is set: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every session's tests share one cache folder that is not the user's."""
    monkeypatch.setenv("MODICUM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Parameters drawn in a test do not depend on the tests before it."""
    torch.manual_seed(0)
