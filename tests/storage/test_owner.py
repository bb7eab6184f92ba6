"""Owner: a claim that ends with its process, whatever ends that."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from tta_notebook import StorageError
from tta_notebook.storage import owner as owner_module
from tta_notebook.storage.owner import Owner


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "deep" / "owners"


def started(folder, *, then):
    """Start a process that claims and then does something; return it and its owner's name."""
    program = f"""
        import os, sys, time
        from pathlib import Path
        from tta_notebook.storage.owner import Owner
        owner = Owner(Path(sys.argv[1]))
        print(owner.id, flush=True)
        {then}
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, process.stdout.readline().strip()


def test_nothing_is_created_before_the_claim(folder):
    owner = Owner(folder)
    assert not owner.is_alive("nobody")
    assert not folder.exists()


def test_a_claim_is_seen_by_everybody_until_it_is_released(folder):
    owner, other = Owner(folder), Owner(folder)
    assert owner.id == owner.id
    assert owner.id != other.id
    for looking in (owner, other):
        assert looking.is_alive(owner.id)
        assert looking.is_alive(other.id)
    name = owner.id
    owner.release()
    assert not other.is_alive(name)
    assert owner.id != name
    other.release()
    owner.release()
    assert list(folder.iterdir()) == []


def test_a_forgotten_owner_is_not_alive(folder):
    owner, other = Owner(folder), Owner(folder)
    name = owner.id
    del owner
    gc.collect()
    assert not other.is_alive(name)


def test_a_living_process_is_alive_and_a_killed_one_is_not(folder):
    process, name = started(folder, then="time.sleep(60)")
    owner = Owner(folder)
    assert owner.is_alive(name)
    process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    process.communicate()
    assert not owner.is_alive(name)


def test_a_process_that_ends_leaves_nothing(folder):
    process, _ = started(folder, then="")
    process.communicate()
    assert process.returncode == 0
    assert list(folder.iterdir()) == []


def test_what_killed_processes_left_is_swept_away(folder):
    process, name = started(folder, then="time.sleep(60)")
    process.kill()
    process.communicate()
    assert (folder / name).exists()
    alive = Owner(folder)
    owner = Owner(folder)
    names = {alive.id, owner.id}
    assert {path.name for path in folder.iterdir()} == names
    for each in (alive, owner):
        each.release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_does_not_keep_its_parents_claim(folder):
    fork = "child = os.fork(); child or time.sleep(60); print(child, flush=True); time.sleep(60)"
    process, name = started(folder, then=fork)
    child = int(process.stdout.readline())
    try:
        owner = Owner(folder)
        assert owner.is_alive(name)
        process.kill()
        process.wait()
        # The child lets go when it first runs, and on a busy machine that may be after its parent.
        give_up_s = time.monotonic() + 10
        while owner.is_alive(name) and time.monotonic() < give_up_s:
            time.sleep(0.01)
        assert not owner.is_alive(name)
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_claims_for_itself_and_its_end_does_not_end_the_parents(folder):
    fork = """
        parent = owner.id
        child = os.fork()
        if child == 0:
            print(owner.id, flush=True)
            print(owner.is_alive(parent), flush=True)
            owner.release()
            os._exit(0)
        os.waitpid(child, 0)
        print(owner.id == parent and owner.is_alive(parent), flush=True)
        """
    process, name = started(folder, then=fork.strip())
    child, sees_parent, parent_lives = process.stdout.read().split()
    process.communicate()
    assert child != name
    assert (sees_parent, parent_lives) == ("True", "True")


def test_many_may_look_at_once_and_none_takes_another_for_the_owner(folder):
    process, name = started(folder, then="time.sleep(60)")
    process.kill()
    process.communicate()
    found = []

    def look():
        owner = Owner(folder)
        found.extend(owner.is_alive(name) for _ in range(200))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not any(found)


def test_many_may_claim_at_once(folder):
    owners = [Owner(folder) for _ in range(50)]
    threads = [threading.Thread(target=lambda owner=owner: owner.id) for owner in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {owner.id for owner in owners}
    assert len(names) == 50
    assert all(owners[0].is_alive(name) for name in names)
    for owner in owners:
        owner.release()


def test_a_claim_is_not_swept_away_between_its_making_and_its_locking(folder, monkeypatch):
    """The moment in which a claim's file is there and not locked yet, made as long as it takes."""
    made, looked = threading.Event(), threading.Event()
    hold, is_held, unlink = owner_module._hold, owner_module._is_held, Path.unlink
    claims = []

    def slow_hold(descriptor):
        made.set()
        looked.wait(10)
        hold(descriptor)

    def look(descriptor):
        found = is_held(descriptor)
        looked.set()
        return found

    def slow_unlink(path, **options):
        thread.join(0.3)  # until the claim is made, if nothing keeps it from being made
        unlink(path, **options)

    monkeypatch.setattr(owner_module, "_hold", slow_hold)
    claimer = Owner(folder)
    thread = threading.Thread(target=lambda: claims.append(claimer.id))
    thread.start()
    assert made.wait(10)
    monkeypatch.setattr(owner_module, "_hold", hold)
    monkeypatch.setattr(owner_module, "_is_held", look)
    monkeypatch.setattr(Path, "unlink", slow_unlink)
    sweeper = Owner(folder)
    assert sweeper.id
    thread.join()
    monkeypatch.undo()
    assert sweeper.is_alive(claims[0])
    claimer.release()
    sweeper.release()


def test_a_place_where_nothing_can_be_claimed_is_an_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"its folder cannot be used.*Allow") as caught:
        _ = Owner(tmp_path / "file" / "owners").id
    assert caught.value.path == str(tmp_path / "file" / "owners")
