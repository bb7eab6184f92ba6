"""The law of exporting: a module leaves a name as the notebook has it, whatever was run."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tta_notebook.notebook.export.exported import module_of

VALUES = ("a", "b", "c")
LISTS = ("xs", "ys")
FUNCTIONS = ("f", "g")


def terms():
    calls = st.sampled_from([f"{name}()" for name in FUNCTIONS])
    sizes = st.sampled_from([f"len({name})" for name in LISTS])
    return st.one_of(st.sampled_from(VALUES), calls, sizes, st.integers(0, 9).map(str))


def statements():
    value, items, function = map(st.sampled_from, (VALUES, LISTS, FUNCTIONS))
    term = terms()
    return st.one_of(
        st.builds("{} = {} + {}".format, value, term, term),
        st.builds("{} += {}".format, value, term),
        st.builds("{} = [{}]".format, items, term),
        st.builds("{}.append({})".format, items, term),
        st.builds("{}[0] = {}".format, items, term),
        st.builds("{} = list({})".format, items, items),
        st.builds("if {} > 4:\n    {} = {}".format, term, value, term),
        st.builds("for n in range({} % 3):\n    {}.append(n + {})".format, value, items, term),
        st.builds("def {}(x={}):\n    return x + {}".format, function, term, term),
        st.builds("{} = (lambda: {})".format, function, term),
    )


def value_of(name, space):
    return space[name]() if name in FUNCTIONS else space[name]


def executed(cells):
    """Run cells as a notebook does; None where functions call each other without an end."""
    space, done = {}, {}
    start = "\n".join(
        [*(f"{name} = 1" for name in VALUES), *(f"{name} = [0]" for name in LISTS)]
        + [f"def {name}():\n    return 0" for name in FUNCTIONS]
    )
    for number, source in enumerate([start, *cells]):
        try:
            exec(source, space)  # noqa: S102 - the law is about running code
        except RecursionError:
            return None
        done[number] = source
    return space, done


@settings(deadline=None, max_examples=300)
@given(cells=st.lists(statements(), max_size=12), name=st.sampled_from(VALUES + LISTS + FUNCTIONS))
def test_a_module_gives_a_name_the_value_it_has_in_the_notebook(cells, name):
    ran = executed(cells)
    if ran is None:
        return
    space, done = ran
    module = module_of([name], done)
    own = {}
    exec(module.text, own)  # noqa: S102 - the same
    try:
        expected = value_of(name, space)
    except RecursionError:
        return
    assert value_of(name, own) == expected, module.text
