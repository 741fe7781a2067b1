package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestReferenceIsComplete looks for every verb, and in its section for every flag
// of its own, in the reference.
func TestReferenceIsComplete(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, s := range strings.Split(string(text), "\n## ") {
		title, _, _ := strings.Cut(s, "\n")
		sections[strings.Trim(title, "`")] = s
	}
	section := func(path string) string {
		for title, s := range sections {
			if title == path || strings.HasPrefix(title, path+" ") {
				return s
			}
		}
		return ""
	}
	root := (&app{}).root()
	check := func(where, text string, flags *pflag.FlagSet) {
		flags.VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(text, "`--"+f.Name) {
				t.Errorf("%s: the reference does not have --%s", where, f.Name)
			}
			if f.Shorthand != "" && !strings.Contains(text, "`-"+f.Shorthand) {
				t.Errorf("%s: the reference does not have -%s", where, f.Shorthand)
			}
			if f.Usage == "" {
				t.Errorf("%s: --%s has no help", where, f.Name)
			}
		})
	}
	check("every verb", sections["For every verb"], root.PersistentFlags())
	verbs := 0
	each(root, func(c *cobra.Command) {
		path := strings.TrimPrefix(c.CommandPath(), "trajlake ")
		if c == root || c.HasSubCommands() || c.Name() == "help" {
			return
		}
		verbs++
		s := section(path)
		if s == "" {
			t.Errorf("the reference has no section for %s", path)
			return
		}
		check(path, s, c.LocalNonPersistentFlags())
		if c.Short == "" || c.Long == "" || c.Example == "" {
			t.Errorf("%s: its help lacks a sentence, a text or an example", path)
		}
	})
	if verbs < 13 {
		t.Errorf("only %d verbs were checked", verbs)
	}
}
