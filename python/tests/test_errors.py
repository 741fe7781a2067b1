import json
import pathlib
import pickle

import pyarrow as pa
import pyarrow.flight as flight
import pytest

import trajlake
from trajlake import _faults, errors


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


def test_refused_connection_names_the_address():
    with pytest.raises(errors.UnavailableError, match=r"^no server answers at 127\.0\.0\.1:1 \(start one with `trajlake serve "):
        trajlake.connect("127.0.0.1:1").stats()
    with pytest.raises(pa.ArrowException) as raised:
        flight.connect("grpc://127.0.0.1:1").do_get(flight.Ticket(b""))
    e = _faults.from_arrow(raised.value)
    assert (e.kind, e.message) == ("unavailable", "no server answers at 127.0.0.1:1")
