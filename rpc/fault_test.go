package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"trajlake/schema/fault"
)

// TestFaultTable sends an error of every kind through a status and back.
func TestFaultTable(t *testing.T) {
	for _, k := range fault.Kinds() {
		in := fault.Wrap("import a.jsonl", fault.New(k, "append row x", "it is %s", k).WithField("turns[3].text").WithHint("do %s", k))
		st := Status(in)
		if got, want := uint32(st.Code()), k.Codes().GRPC; got != want {
			t.Errorf("%s: code %d, want %d", k, got, want)
		}
		out := Fault("call", st.Err())
		if !fault.Is(out, k) || fault.HintOf(out) != "do "+k.String() || fault.FieldOf(out) != "turns[3].text" {
			t.Errorf("%s came back as %v (%s, field %q, hint %q)", k, out, fault.KindOf(out), fault.FieldOf(out), fault.HintOf(out))
		}
		if !strings.Contains(out.Error(), "it is "+k.String()) || !strings.HasPrefix(out.Error(), "import a.jsonl: ") {
			t.Errorf("%s: text %q", k, out)
		}
		if again := Status(out); again.Message() != st.Message() {
			t.Errorf("%s: a second hop says %q, the first %q", k, again.Message(), st.Message())
		}
	}
}

// TestFaultOfForeignErrors gives errors that are not trajlake's a kind.
func TestFaultOfForeignErrors(t *testing.T) {
	for err, want := range map[error]fault.Kind{
		context.Canceled:                           fault.Cancelled,
		context.DeadlineExceeded:                   fault.Cancelled,
		errors.New("disk on fire"):                 fault.Internal,
		fmt.Errorf("x: %w", context.Canceled):      fault.Cancelled,
		status.Error(14, "connection refused"):     fault.Unavailable,
		status.Error(8, "message larger than max"): fault.Exhausted,
		status.Error(12, "unknown method"):         fault.Unsupported,
	} {
		if got := Fault("call", err); !fault.Is(got, want) {
			t.Errorf("%v became %v (%s), want %s", err, got, fault.KindOf(got), want)
		}
	}
}

// TestFaultIsBounded keeps a status small enough for a trailer.
func TestFaultIsBounded(t *testing.T) {
	long := strings.Repeat("ü", 100_000)
	st := Status(fault.New(fault.Invalid, long, "%s", long).WithField(long).WithHint("%s", long))
	n := len(st.Message())
	for _, d := range st.Proto().GetDetails() {
		n += len(d.GetValue())
	}
	if n > 7000 {
		t.Errorf("the status has %d bytes", n)
	}
}

// TestPythonTable compares the Python client's exceptions with the table, and
// writes them with TRAJLAKE_UPDATE=1.
func TestPythonTable(t *testing.T) {
	type row struct {
		Kind  string `json:"kind"`
		Class string `json:"class"`
		GRPC  uint32 `json:"grpc"`
		Exit  int    `json:"exit"`
	}
	var rows []row
	for _, k := range fault.Kinds() {
		c := k.Codes()
		rows = append(rows, row{c.Name, c.Python, c.GRPC, c.Exit})
	}
	want, err := json.MarshalIndent(rows, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	path := filepath.Join("..", "python", "tests", "faults.json")
	if os.Getenv("TRAJLAKE_UPDATE") == "1" {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs from the table; run the test with TRAJLAKE_UPDATE=1 and adapt python/trajlake/errors.py", path)
	}
}

// TestWirePage holds the table of docs/reference/wire.md against the kinds.
func TestWirePage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "reference", "wire.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range fault.Kinds() {
		c := k.Codes()
		var code string
		for _, r := range codes.Code(c.GRPC).String() { // NotFound is NOT_FOUND there
			if unicode.IsUpper(r) && code != "" {
				code += "_"
			}
			code += strings.ToUpper(string(r))
		}
		code = strings.Replace(code, "CANCELED", "CANCELLED", 1)
		row := fmt.Sprintf("| `%s` | %s | %d | %d | `%s` |", c.Name, code, c.HTTP, c.Exit, c.Python)
		if !strings.Contains(string(page), row) {
			t.Errorf("the page has no row %s", row)
		}
	}
}
