package trajlake_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestGuaranteesNameTests keeps docs/guarantees.md honest: every test that it
// names is there, and every promise names one.
func TestGuaranteesNameTests(t *testing.T) {
	text, err := os.ReadFile("docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	have := testNames(t)
	for _, m := range regexp.MustCompile("`((?:Test|test_)[A-Za-z0-9_…]*)`").FindAllStringSubmatch(string(text), -1) {
		if !have[m[1]] {
			t.Errorf("docs/guarantees.md names %s, and there is no such test", m[1])
		}
	}
	for _, section := range strings.Split(string(text), "\n## ")[1:] {
		title, _, _ := strings.Cut(section, "\n")
		if title != "What is not promised" && !strings.Contains(section, "`Test") {
			t.Errorf("docs/guarantees.md: %s names no test", title)
		}
	}
}

// testNames are the test functions of the tree, in Go and Python.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	function := regexp.MustCompile(`(?m)^(?:func|def) (Test\w+|test_\w+)\(`)
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (p == "build" || d.Name() == ".git") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(p, "_test.go") && !(strings.HasPrefix(d.Name(), "test_") && strings.HasSuffix(p, ".py")) {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		for _, m := range function.FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
