"""`%tta_local`: what `local` stands for, in the notebook."""

import pytest

from tta_notebook.llm.local import install


@pytest.fixture
def nowhere(monkeypatch):
    monkeypatch.delenv("TTA_LOCAL_MODEL", raising=False)


def test_it_says_what_local_stands_for(shell, tmp_path, monkeypatch):
    model = tmp_path / "own.gguf"
    model.write_bytes(b"GGUF" + bytes(2_000_000))
    monkeypatch.setenv("TTA_LOCAL_MODEL", str(model))
    said = shell.run("%tta_local").out
    assert said == f"local: {model} (from TTA_LOCAL_MODEL, 2 MB)\n"
    assert shell.run("%tta_local status").out == said


def test_without_a_model_it_says_how_to_get_one(shell, nowhere):
    assert "tta local install" in shell.run("%tta_local").out


def test_it_installs_and_says_so(shell, nowhere, monkeypatch, tmp_path):
    fetched = []

    def put():
        fetched.append(True)
        return tmp_path

    monkeypatch.setattr(install, "install", put)
    assert shell.run("%tta_local install").error is None
    assert fetched == [True]


def test_an_installation_that_fails_is_one_line(shell, monkeypatch):
    def put():
        raise install.InstallError("There is no room on the disk. Make some.")

    monkeypatch.setattr(install, "install", put)
    cell = shell.run("%tta_local install")
    assert "%tta_local: There is no room on the disk. Make some." in cell.err + cell.out


def test_a_wrong_word_is_told_with_the_right_ones(shell):
    cell = shell.run("%tta_local instal")
    assert "'install'" in cell.err + cell.out
