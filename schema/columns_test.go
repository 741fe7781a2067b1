package schema

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/format/columns.md")

const columnsPage = "../docs/format/columns.md"

// TestColumnsPage writes the page of columns from the column tree and the
// meanings in testdata/columns.txt, and fails if the committed page is another.
func TestColumnsPage(t *testing.T) {
	meanings := readMeanings(t)
	var b strings.Builder
	b.WriteString("# Columns\n\nGenerated from the declarations in `schema/rows.go` (`go test ./schema -run TestColumnsPage -update`).\n\n" +
		"Every column is nullable unless it says *required*; null means unknown. A null and an empty list are the same. Strings are UTF-8; " +
		"timestamps are microseconds since 1970, UTC; `day` (the UTC date on which a file was written) is the partition column of all four tables " +
		"and never a property of a row. In native JSON the keys are these names, nested ones in objects; in protobuf the fields are.\n")
	used := 0
	meaning := func(path string) string {
		m, ok := meanings[path]
		if !ok {
			t.Errorf("testdata/columns.txt does not say what %s means", path)
		}
		used++
		return m
	}
	for _, table := range Tables() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| column | type | meaning |\n|---|---|---|\n", table.Name, meaning(table.Name))
		var walk func(p *plan, prefix, path string)
		walk = func(p *plan, prefix, path string) {
			for i, c := range p.columns {
				name, at := prefix+c.Name, path+"."+c.Name
				s := c
				for s.Kind == List {
					s = s.Elem
				}
				if s.Kind == Struct {
					if c.Kind == List {
						name += "[]"
					}
					walk(s.plan, name+".", at)
					continue
				}
				text := meaning(at)
				if e := p.enums[i]; e != nil {
					text += ": `" + strings.Join(e.names, "` `") + "`"
				}
				if c.Required {
					text += " (required)"
				}
				fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, typeName(c), text)
			}
		}
		walk(table.plan, "", table.Name)
	}
	if used != len(meanings) {
		t.Errorf("testdata/columns.txt has %d entries, the tables have %d", len(meanings), used)
	}
	if *update {
		if err := os.WriteFile(columnsPage, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(columnsPage)
	if err != nil || string(page) != b.String() {
		t.Errorf("%s is not up to date (%v): run go test ./schema -run TestColumnsPage -update", columnsPage, err)
	}
}

func typeName(c *Column) string {
	switch c.Kind {
	case List:
		return "list of " + typeName(c.Elem)
	case Map:
		return "map of string to string"
	}
	return c.Kind.String()
}

func readMeanings(t *testing.T) map[string]string {
	f, err := os.Open("testdata/columns.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := make(map[string]string)
	for s := bufio.NewScanner(f); s.Scan(); {
		if path, text, ok := strings.Cut(s.Text(), " | "); ok && !strings.HasPrefix(path, "#") {
			if out[path] != "" {
				t.Errorf("%s stands twice", path)
			}
			out[path] = text
		}
	}
	return out
}
