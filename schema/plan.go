package schema

import (
	"slices"
	"strings"
)

// plan is what the readers and writers of a struct need to know of its columns,
// worked out once.
type plan struct {
	columns []*Column
	byName  map[string]int
	sorted  []int   // indexes of columns, by name
	enums   []*Enum // of a column with a closed set of names, else nil
	signed  []bool  // integers that may be negative
	ids     []bool  // identifiers: short, no control characters
	extra   int     // index of the extra column; -1 if there is none
}

// planOf makes the plans of columns and of all structs below them; path names
// where they stand: the table's name, then column names.
func planOf(path string, columns []*Column) *plan {
	p := &plan{columns: columns, byName: make(map[string]int, len(columns)), extra: -1}
	for i, c := range columns {
		p.byName[c.Name] = i
		p.sorted = append(p.sorted, i)
		at := path + "." + c.Name
		p.enums = append(p.enums, enumAt(at))
		p.signed = append(p.signed, c.Name == "seed" || c.Name == "top_k")
		p.ids = append(p.ids, strings.HasSuffix(c.Name, "_id") || slices.Contains(shortNames, c.Name))
		if c.Name == "extra" {
			p.extra = i
		}
		s := c
		for s.Kind == List {
			s = s.Elem
		}
		if s.Kind == Struct {
			s.plan = planOf(at, s.Fields)
		}
	}
	slices.SortFunc(p.sorted, func(a, b int) int { return strings.Compare(columns[a].Name, columns[b].Name) })
	return p
}

// shortNames are columns that hold identifiers without ending in _id.
var shortNames = []string{"task_set", "dataset", "split", "parent_call", "model", "agent", "stream", "run"}
