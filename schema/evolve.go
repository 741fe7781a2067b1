package schema

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"trajlake/schema/fault"
)

// Evolution is how the columns that a table declares differ from those that this
// build knows. Names of nested fields are joined by dots; an element of a list
// adds nothing to the name.
type Evolution struct {
	Schema  string   // what is declared together with what is known, in Spark's JSON
	Missing []string // known here, not declared: the table is of an older build
	Unknown []string // declared, not known here: the table is of a newer build
}

// Evolve compares a declared schemaString with a table's columns. Columns are
// only ever added: a column of another type is fault.Unsupported, which names it.
func Evolve(declared string, t *Table) (Evolution, error) {
	var e Evolution
	out, err := e.merge("", jsontext.Value(declared), jsontext.Value(DeltaSchemaString(t)))
	if err != nil {
		return Evolution{}, fault.Wrap("compare the schema of "+t.Name, err)
	}
	e.Schema = string(out)
	if len(e.Missing) == 0 {
		e.Schema = declared
	}
	return e, nil
}

// deltaNode is a type in Spark's JSON that is not a single word.
type deltaNode struct {
	Type         string         `json:"type"`
	Fields       []deltaColumn  `json:"fields,omitzero"`
	ElementType  jsontext.Value `json:"elementType,omitzero"`
	ContainsNull *bool          `json:"containsNull,omitzero"`
}

type deltaColumn struct {
	Name     string         `json:"name"`
	Type     jsontext.Value `json:"type"`
	Nullable bool           `json:"nullable"`
	Metadata jsontext.Value `json:"metadata,omitzero"`
}

// merge gives the type that holds what both hold.
func (e *Evolution) merge(path string, have, want jsontext.Value) (jsontext.Value, error) {
	differ := func() error {
		return fault.New(fault.Unsupported, "", "column %s is declared as %.100s, this build has %.100s", path, have, want).WithField(path)
	}
	if have.Kind() != '{' || want.Kind() != '{' {
		if string(have) != string(want) {
			return nil, differ()
		}
		return have, nil
	}
	var h, w deltaNode
	if err := json.Unmarshal(have, &h); err != nil {
		return nil, fault.WrapAs(fault.Corrupt, "read the declared schema", err)
	}
	if err := json.Unmarshal(want, &w); err != nil {
		return nil, fault.WrapAs(fault.Internal, "read the known schema", err)
	}
	switch {
	case h.Type != w.Type:
		return nil, differ()
	case h.Type == "struct":
		if err := e.mergeFields(path, &h, w.Fields); err != nil {
			return nil, err
		}
	case h.Type == "array":
		elem, err := e.merge(path, h.ElementType, w.ElementType)
		if err != nil {
			return nil, err
		}
		h.ElementType = elem
	default: // a map of strings
		return have, nil
	}
	return json.Marshal(&h)
}

func (e *Evolution) mergeFields(path string, h *deltaNode, want []deltaColumn) error {
	name := func(c string) string { return strings.TrimPrefix(path+"."+c, ".") }
	for i := range h.Fields {
		f := &h.Fields[i]
		at := slices.IndexFunc(want, func(c deltaColumn) bool { return c.Name == f.Name })
		if at < 0 {
			e.Unknown = append(e.Unknown, name(f.Name))
			continue
		}
		t, err := e.merge(name(f.Name), f.Type, want[at].Type)
		if err != nil {
			return err
		}
		f.Type = t
	}
	for _, c := range want {
		if !slices.ContainsFunc(h.Fields, func(f deltaColumn) bool { return f.Name == c.Name }) {
			e.Missing = append(e.Missing, name(c.Name))
			h.Fields = append(h.Fields, c)
		}
	}
	return nil
}
