"""Files: uploaded, checked once, deleted for good."""

from __future__ import annotations

from app.domain.files import FILES, Checked, Deleted, DeleteFile, Fault, RecordCheck, RegisterFile, Uploaded
from tests.unit.domain.scenario import Scenario

UPLOADED = Uploaded("acct-a", "train.jsonl", "fine-tune", 10, "aa", "files/a", "hash")
REGISTER = RegisterFile("acct-a", "train.jsonl", "fine-tune", 10, "aa", "files/a", "hash")
FAULT = Fault(3, "not_json", "", "the line is not JSON")


def test_a_registered_file_is_uploaded() -> None:
    file = Scenario(FILES, "file-a")
    assert file.then(REGISTER) == (UPLOADED,)
    assert file.state.status == "uploaded"


def test_a_check_without_fault_makes_it_processed() -> None:
    file = Scenario(FILES, "file-a", UPLOADED)
    assert [type(event) for event in file.then(RecordCheck("chat", 4, 0))] == [Checked]
    assert (file.state.status, file.state.rows) == ("processed", 4)


def test_a_check_with_faults_makes_it_an_error() -> None:
    file = Scenario(FILES, "file-a", UPLOADED)
    file.then(RecordCheck("chat", 3, 2, FAULT))
    assert (file.state.status, file.state.fault_count, file.state.first_fault) == ("error", 2, FAULT)


def test_a_second_check_changes_nothing() -> None:
    file = Scenario(FILES, "file-a", UPLOADED)
    file.then(RecordCheck("chat", 4, 0))
    assert file.then(RecordCheck("chat", 0, 1, FAULT)) == ()
    assert file.state.status == "processed"


def test_the_same_upload_again_is_the_same_file_and_another_one_a_conflict() -> None:
    file = Scenario(FILES, "file-a", UPLOADED)
    assert file.then(REGISTER) == ()
    other = RegisterFile("acct-a", "train.jsonl", "fine-tune", 10, "bb", "files/b", "other")
    assert file.refused(other).code == "idempotency_conflict"


def test_a_deleted_file_stays_deleted() -> None:
    file = Scenario(FILES, "file-a", UPLOADED)
    assert [type(event) for event in file.then(DeleteFile())] == [Deleted]
    assert file.then(DeleteFile()) == ()
    assert file.refused(RecordCheck("chat", 4, 0)).code == "invalid_state_transition"


def test_what_was_never_uploaded_cannot_be_checked_or_deleted() -> None:
    assert Scenario(FILES, "file-a").refused(DeleteFile()).code == "not_found"
    assert Scenario(FILES, "file-a").refused(RecordCheck("chat", 4, 0)).code == "not_found"
