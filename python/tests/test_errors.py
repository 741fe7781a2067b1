import json
import pathlib
import pickle

from trajlake import errors


def test_table_agrees_with_the_server():
    """faults.json is written and checked by the server's own tests."""
    table = json.loads((pathlib.Path(__file__).parent / "faults.json").read_text())
    assert {r["kind"]: r["class"] for r in table} == {k: c.__name__ for k, c in errors._CLASSES.items()}
    for r in table:
        e = errors.error_of(r["kind"], "m", "f", "h")
        assert type(e).__name__ == r["class"] and e.kind == r["kind"] and (e.field, e.hint) == ("f", "h")
        back = pickle.loads(pickle.dumps(e))
        assert type(back) is type(e) and (back.message, back.field, back.hint) == ("m", "f", "h")
    assert set(errors.__all__) == {r["class"] for r in table}


def test_unknown_kind_is_still_an_error():
    assert type(errors.error_of("from_the_future", "m")) is errors.TrajlakeError
