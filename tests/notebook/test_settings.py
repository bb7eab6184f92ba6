"""%config TTAMagics, %tta_config and pyproject.toml: the same settings, and who has said what."""

import logging

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.error import UsageError

from tta_notebook.notebook import nest
from tta_notebook.notebook.settings import TTAMagics
from tta_notebook.notebook.tables.config import SETTINGS, default_of

SLOW = """\
async def slow(x):
    await asyncio.sleep(5)
slow = LambdaPrimitive(slow, name="slow")
"""


@pytest.fixture
def project(bare_shell, tmp_path, monkeypatch):
    """A shell that is to load the extension below a pyproject.toml."""
    place = tmp_path / "project" / "notebooks"
    place.mkdir(parents=True)
    monkeypatch.chdir(place)

    def loaded(text, *, encoding="utf-8"):
        (place.parent / "pyproject.toml").write_text(text, encoding=encoding)
        return bare_shell.run("%load_ext tta_notebook")

    bare_shell.loaded = loaded
    return bare_shell


def settings(shell):
    lines = shell.run("%tta_config").out.splitlines()
    return {word: source.strip() for word, _, source in (line.partition(" ") for line in lines)}


def test_config_lists_them_with_their_values(shell):
    assert "TTAMagics" in shell.run("%config").out
    told = shell.run("%config TTAMagics").out
    for name in SETTINGS:
        assert f"TTAMagics.{name}=" in told
    assert shell.value("%config TTAMagics.live") == "auto"


def test_config_and_tta_config_are_two_ways_to_one_thing(shell):
    assert shell.run("%config TTAMagics.live = 'off'").out == ""
    assert settings(shell)["live=off"] == "%config"
    shell.run("%tta_config live=html budget=0.5")
    assert shell.value("%config TTAMagics.live") == "html"
    assert settings(shell)["budget=0.5"] == "%tta_config"
    # What %config has said before is not said again by the next %config.
    shell.run("%config TTAMagics.timeout = 5")
    assert settings(shell)["live=html"] == "%tta_config"
    assert settings(shell)["timeout=5"] == "%config"


@pytest.mark.parametrize(
    ("written", "kept"),
    [("None", ""), ("''", ""), ("5", "5"), ("0.25", "0.25"), ("'1e-3'", "1e-3"), ("0", "0")],
)
def test_amounts_may_be_numbers_or_text(shell, written, kept):
    shell.run(f"%config TTAMagics.budget = {written}")
    assert shell.value("%config TTAMagics.budget") == kept


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("TTAMagics.live = 'of'", "did you mean 'off'?"),
        ("TTAMagics.liv = 'off'", "there is no setting 'liv'; there is 'live'"),
        ("TTAMagics.budget = -1", "budget is an amount in USD from 0, not '-1'"),
        ("TTAMagics.budget = float('nan')", "not 'nan'"),
        ("TTAMagics.budget = [1]", "not '[1]'"),
        ("TTAMagics.budget = True", "not 'on'"),
        ("TTAMagics.timeout = 0", "timeout is a number of seconds above 0"),
        ("TTAMagics.timeout = float('inf')", "not 'inf'"),
        ("TTAMagics.history = None", "history needs a value: history on|off"),
        ("TTAMagics.reuse = 'ja'", "reuse is one of on, off, not 'ja'."),
    ],
)
def test_what_means_nothing_is_one_line_and_changes_nothing(shell, caplog, statement, said):
    before = settings(shell)
    with caplog.at_level(logging.ERROR):
        shell.run(f"%config {statement}")
    [record] = caplog.records
    assert said in record.getMessage()
    assert "\n" not in record.getMessage()
    assert settings(shell) == before


def test_a_line_of_several_settings_changes_all_or_none(shell):
    cell = shell.run("%tta_config live=off budget=much")
    assert isinstance(cell.error, UsageError)
    assert settings(shell)["live=auto"] == "default"
    shell.run("%tta_config live=off budget=2 quiet=on")
    assert {"live=off", "budget=2", "quiet=on"} <= settings(shell).keys()
    shell.run("%tta_config budget=")
    assert settings(shell)["budget="] == "%tta_config"


def test_the_nearest_pyproject_gives_defaults(project):
    cell = project.loaded(
        '[tool.tta_notebook]\nlive = "off"\nbudget = 0.1\ntimeout = 30\nhistory = false\n'
    )
    assert cell.out + cell.err == ""
    found = settings(project)
    for word in ("live=off", "budget=0.1", "timeout=30", "history=off"):
        assert found[word] == "pyproject.toml"
    assert found["loop=native"] == "default"
    project.run(
        "from tta_notebook import LambdaPrimitive\nf = LambdaPrimitive(len)\n%tta_run f 'a'"
    )
    assert len(project.value("%tta_history")) == 0
    project.run("%config TTAMagics.live = 'auto'")
    assert settings(project)["live=auto"] == "%config"


def test_ipythons_own_configuration_counts_more_than_the_project(project):
    project.ip.config.TTAMagics.live = "html"
    project.loaded('[tool.tta_notebook]\nlive = "off"\n')
    assert settings(project)["live=html"] == "IPython's configuration"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.tta_notebook]\nliv = 'off'", "there is no setting 'liv'; there is 'live'"),
        ("[tool.tta_notebook]\nlive = 'of'", "did you mean 'off'?"),
        ("[tool.tta_notebook]\nbudget = 'much'", "budget is an amount in USD"),
        ("[tool.tta_notebook]\nbudget = [1, 2]", "budget is an amount in USD"),
        ("[tool.tta_notebook]\nbudget = {a = 1}", "budget is an amount in USD"),
        ("[tool.tta_notebook\n", "cannot be read"),
        ("[tool]\ntta_notebook = 3", "is a int, not a table"),
        ("tool = 3", "is a int, not a table"),
    ],
)
def test_a_mistake_there_is_one_line_and_the_extension_loads(project, text, said):
    cell = project.loaded(text)
    assert cell.error is None
    [line] = cell.err.splitlines()
    assert line.startswith("tta_notebook: pyproject.toml")
    assert said in line
    assert settings(project)["budget="] == "default"


def test_a_pyproject_that_is_no_text_is_one_line_too(project):
    [line] = project.loaded("[tool.tta_notebook]\nlive = 'öff'", encoding="utf-16").err.splitlines()
    assert "cannot be read" in line


def test_right_settings_beside_a_wrong_one_count(project):
    project.loaded("[tool.tta_notebook]\nliv = 'x'\ntimeout = 7")
    assert settings(project)["timeout=7"] == "pyproject.toml"


def test_a_project_without_the_table_says_nothing(project):
    assert project.loaded("[project]\nname = 'x'\n").err == ""
    assert set(settings(project).values()) == {"default"}


def test_a_loop_that_cannot_be_had_does_not_keep_it_from_loading(project, monkeypatch):
    monkeypatch.setattr(nest.sys, "version_info", (3, 15, 0))
    cell = project.loaded("[tool.tta_notebook]\nloop = 'nest'")
    assert "Python 3.15" in cell.err
    assert settings(project)["loop=native"]
    cell = project.run("%tta_config loop=nest")
    assert isinstance(cell.error, UsageError)
    assert settings(project)["loop=native"]


def test_timeout_and_budget_hold_for_each_run_unless_it_says_otherwise(priced):
    priced.run(SLOW)
    priced.run("%tta_config timeout=0.05")
    assert "over its 0.05 s" in priced.run("%tta_run slow 1").out
    assert "over its 0.1 s" in priced.run("%tta_run slow 1 --timeout 0.1").out
    priced.run("r = %tta_run slow 1 --background")
    assert "over its 0.05 s" in priced.run("await r").out
    priced.run("%tta_config timeout= budget=0.5")
    assert type(priced.run("%tta_run model 'q'").error).__name__ == "RunOverBudget"
    assert priced.value("%tta_run model 'q' --budget 9").output == "yes"


def test_quiet_shows_nothing_unless_asked_to(shell):
    shell.run("%tta_config quiet=on")
    assert shell.run("%tta_run strip ' a '").out == ""
    assert shell.run("%%tta_workflow w --input ' a '\nstrip").out == ""
    assert "→ a" in shell.run("%tta_run strip ' a ' --show").out
    assert "→ a" in shell.run("%%tta_workflow w --input ' a ' --show\nstrip").out
    # A picture of a workflow is no run.
    assert "strip" in shell.run("%%tta_workflow w\nstrip >> len").out
    assert (
        "→ a" in shell.run("def f():\n    r = %tta_run strip ' a ' --show\n    return r\nf()").out
    )
    shell.run("%tta_config quiet=off")
    assert "→ a" in shell.run("%tta_run strip ' a '").out


def test_completion_offers_settings_and_their_values(shell):
    def offered(line):
        with provisionalcompleter():
            return [found.text for found in shell.ip.Completer.completions(line, len(line))]

    assert offered("%tta_config li")[0] == "live=auto"
    assert offered("%tta_config budget=1 live=o") == ["off"]
    assert not any(word.startswith("live") for word in offered("%tta_config live=off li"))


def test_unloading_takes_the_configurable_away_and_loading_begins_anew(shell):
    shell.run("%tta_config live=off timeout=3")
    shell.run("%unload_ext tta_notebook")
    assert not any(isinstance(each, TTAMagics) for each in shell.ip.configurables)
    assert "TTAMagics" not in shell.run("%config").out
    shell.run("%load_ext tta_notebook")
    assert {word.split("=")[0] for word in settings(shell)} == set(SETTINGS)
    assert settings(shell)["live=auto"] == "default"


def test_every_setting_is_a_trait_with_its_default(shell):
    assert set(TTAMagics.class_trait_names(config=True)) == set(SETTINGS)
    found = TTAMagics(shell.ip)
    assert {name: found[name] for name in SETTINGS} == {name: default_of(name) for name in SETTINGS}
