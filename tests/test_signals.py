"""Signals: noted where they come, obeyed where nothing is half done, at once where that is asked for."""

import contextlib
import os
import signal

import pytest

from leyden.errors import Interrupted
from leyden.signals import CAUGHT, Signals


@pytest.mark.parametrize("number", CAUGHT)
def test_signal_is_noted_and_ends_the_run_at_the_next_question(number: int) -> None:
    with Signals() as signals:
        signals.check()
        signal.raise_signal(number)
        with pytest.raises(Interrupted) as caught:
            signals.check()
    assert caught.value.exit_code == (130 if number == signal.SIGINT else 143)


def test_second_sigint_ends_at_once_and_a_third_kills() -> None:
    with Signals():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        signal.raise_signal(signal.SIGTERM)  # schedulers repeat it while the state is written


def test_signal_raises_where_it_comes_while_data_is_read() -> None:
    with Signals() as signals, pytest.raises(Interrupted), signals.at_once():
        signal.raise_signal(signal.SIGTERM)


def test_signal_that_a_library_swallows_still_ends_the_run() -> None:
    with Signals() as signals, pytest.raises(Interrupted), signals.at_once(), contextlib.suppress(BaseException):
        signal.raise_signal(signal.SIGUSR1)


def test_error_that_a_raised_signal_left_behind_is_the_signal_s() -> None:
    def library(signals: Signals) -> None:
        try:
            with signals.at_once():
                signal.raise_signal(signal.SIGINT)
        finally:
            raise AttributeError("interrupted in the midst of something")

    with Signals() as signals, pytest.raises(Interrupted), signals.clearly():
        library(signals)


def test_error_of_its_own_stays_one() -> None:
    with Signals() as signals, pytest.raises(ValueError, match="of its own"), signals.clearly():
        raise ValueError("of its own")


def test_signal_is_noted_where_nobody_reads_what_is_said() -> None:
    reading, writing = os.pipe()
    kept = os.dup(2)
    os.close(reading)
    os.dup2(writing, 2)  # as of `2>&1 | tee`, which the same Ctrl-C has ended
    try:
        with Signals() as signals:
            signal.raise_signal(signal.SIGINT)
    finally:
        os.dup2(kept, 2)
    assert signals.received == signal.SIGINT


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in CAUGHT]
    with Signals():
        pass
    assert [signal.getsignal(number) for number in CAUGHT] == before
