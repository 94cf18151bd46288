from __future__ import annotations

import threading

import pytest

from napari_medsam2.errors import DeviceError, MedSAM2Error, PromptError
from napari_medsam2.gui.worker import Ended, InternalError, Job, Worker


def end_of(work) -> Ended:
    worker = Worker()
    try:
        message = worker.submit(work).receive(timeout=10)
    finally:
        worker.close()
    assert isinstance(message, Ended)
    return message


def failing(error: BaseException):
    def work(job: Job) -> None:
        raise error

    return work


def test_the_value_of_the_work_arrives():
    assert end_of(lambda job: 42) == Ended(value=42)


@pytest.mark.parametrize("error", [PromptError("draw a box"), DeviceError("cuda: out of memory")])
def test_our_errors_arrive_as_they_are(error):
    assert end_of(failing(error)).error is error


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyError("k"), StopIteration()])
def test_unexpected_errors_arrive_too(error):
    got = end_of(failing(error)).error
    assert isinstance(got, InternalError)
    assert not isinstance(got, RuntimeError)
    assert type(error).__name__ in str(got)
    assert got.__cause__ is error


def test_running_out_of_memory_is_said_plainly():
    got = end_of(failing(MemoryError("Unable to allocate 9 GiB"))).error
    assert type(got) is MedSAM2Error
    assert "out of memory" in str(got)
    assert "9 GiB" in str(got)


def test_a_missing_folder_is_said_plainly():
    got = end_of(failing(FileNotFoundError(2, "No such file or directory", "a/b.nii"))).error
    assert str(got) == "a/b.nii: No such file or directory"


def test_messages_come_in_order_and_cancel_is_seen():
    seen = threading.Event()
    worker = Worker()

    def work(job: Job) -> str:
        job.report(1)
        job.report(2)
        seen.wait(10)
        return "stopped" if job.is_cancelled else "ran on"

    job = worker.submit(work)
    assert [job.receive(10), job.receive(10)] == [1, 2]
    assert job.receive() is None
    job.cancel()
    seen.set()
    assert job.receive(10) == Ended(value="stopped")
    worker.close()
