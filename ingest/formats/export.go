package formats

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"trajlake/schema"
	"trajlake/schema/canon"
	"trajlake/schema/fault"
)

// Exporter writes rows in one format.
type Exporter interface {
	// Name is the format's name on the command line.
	Name() string
	// Lines reports whether the rows of a file are lines of it; else each row is
	// a file of its own, named FileName(row).
	Lines() bool
	// Write writes one row, with its newline, and reports what the format does
	// not carry of it. An error is of w, or says why the row cannot be written.
	Write(w io.Writer, row *schema.Trajectory) ([]Loss, error)
	// Beside is a second file that belongs to the row's own: the suffix of its
	// name and its content; "" if there is none.
	Beside(row *schema.Trajectory) (suffix string, content []byte)
}

// Exporters lists the exporters.
func Exporters() []Exporter { return []Exporter{nativeExport{}, openAIExport{}, atifExport{}} }

// ExporterByName finds the exporter of a format.
func ExporterByName(name string) (Exporter, bool) {
	for _, e := range Exporters() {
		if e.Name() == name {
			return e, true
		}
	}
	return nil, false
}

// FileName is a name for a row's own file, without its suffix: the id where that
// is a safe file name, else its safe part and a digest.
func FileName(row *schema.Trajectory) string {
	id := row.TrajectoryID
	safe := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			return r
		}
		return '_'
	}, id)
	safe = strings.TrimLeft(safe[:min(len(safe), 100)], ".")
	if safe == id && id != "" {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return fmt.Sprintf("%s-%s", safe, hex.EncodeToString(sum[:6]))
}

// nativeExport writes the lake's own JSON lines, which carry everything.
type nativeExport struct{}

func (nativeExport) Name() string                               { return "native" }
func (nativeExport) Lines() bool                                { return true }
func (nativeExport) Beside(*schema.Trajectory) (string, []byte) { return "", nil }

func (nativeExport) Write(w io.Writer, row *schema.Trajectory) ([]Loss, error) {
	_, err := w.Write(append(schema.AppendJSON(nil, row), '\n'))
	return nil, wrote("native", row, err)
}

func wrote(format string, row *schema.Trajectory, err error) error {
	return fault.Wrap("write "+row.TrajectoryID+" as "+format, err)
}

// given are the columns that the lake or its importers give a row, or that follow
// from the others: no format has to carry them.
var given = []string{"row_version", "row_seq", "ingested_at", "source_digest", "content_hash", "source", "import_loss", "flags", "num_turns",
	"num_tool_calls", "num_tool_errors", "effort_level", "tool_kinds", "prompt_hash", "token_fidelity", "trajectory_id", "extra"}

// present lists the columns that hold something, nested ones by their path.
func present(row *schema.Trajectory) []string {
	var names []string
	add := func(name string) {
		if at, found := slices.BinarySearch(names, name); !found {
			names = slices.Insert(names, at, name)
		}
	}
	walk(reflect.ValueOf(row).Elem(), schema.Trajectories.Columns, "", add)
	return names
}

// walk visits the columns of a struct; of lists of structs, those of the elements.
func walk(v reflect.Value, columns []*schema.Column, prefix string, add func(string)) {
	for _, c := range columns {
		f := v.Field(c.Field)
		if f.IsZero() || f.Kind() == reflect.Slice && f.Len() == 0 {
			continue
		}
		name := prefix + c.Name
		switch {
		case c.Kind == schema.List && c.Elem.Kind == schema.Struct && (c.Name == "turns" || c.Name == "tool_calls"):
			for i := range f.Len() {
				walk(f.Index(i), c.Elem.Fields, name+".", add)
			}
		default:
			add(name)
		}
	}
}

// lossOf is a loss for each column that holds something and is not carried.
func lossOf(format, kind string, row *schema.Trajectory, carried []string) (out []Loss) {
	for _, name := range present(row) {
		if !slices.Contains(carried, name) && !slices.Contains(given, name) {
			out = AddLosses(out, []Loss{{Format: format, Field: name, Kind: kind, Rows: 1}})
		}
	}
	return out
}

// addOnce adds a loss of one row unless it is there.
func addOnce(losses []Loss, l Loss) []Loss {
	if slices.Contains(losses, l) {
		return losses
	}
	return AddLosses(losses, []Loss{l})
}

// extraOf is an extra column as a value; null if there is none.
func extraOf(s *string) canon.Value {
	if s == nil {
		return canon.Value{}
	}
	v, err := canon.Parse([]byte(*s), canon.Limits{})
	if err != nil {
		return canon.Value{}
	}
	return v
}

// toolsOf are the tools' schemas, wherever the source format had them.
func toolsOf(row *schema.Trajectory) canon.Value {
	x := extraOf(row.Extra)
	for _, p := range [][]string{{"tools"}, {"agent", "tool_definitions"}, {"info", "environment_info", "tool_defs"}, {"info", "config", "tools"}} {
		if v := get(x, p...); v.Kind() == canon.Array && v.Len() > 0 {
			return v
		}
	}
	fns := get(x, "functions")
	if fns.Kind() != canon.Array || fns.Len() == 0 {
		return canon.Value{}
	}
	var tools []canon.Value
	for _, f := range fns.Items() {
		tools = append(tools, canon.Obj(canon.M("type", canon.Str("function")), canon.M("function", f)))
	}
	return canon.Arr(tools...)
}

// callType is the kind of call that the source said beside its name: custom,
// text_action, function_call; "" for a plain function.
func callType(turnExtra canon.Value, k int) string {
	s, _ := get(get(turnExtra, "tool_calls").At(k), "type").Str()
	return s
}

// maybe appends a string member if there is a string.
func maybe(ms []canon.Member, key string, s *string) []canon.Member {
	if s != nil {
		ms = append(ms, canon.M(key, canon.Str(*s)))
	}
	return ms
}
