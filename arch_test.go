// Package trajlake_test holds the rules of the tree: who may import whom, which
// package owns which library, and that every package says what it is for.
package trajlake_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "trajlake"

// mayImport lists, for each top-level package, the top-level packages of the
// project that it may import. Tests may import internal packages as well.
var mayImport = map[string][]string{
	"schema":   {"schema"},
	"store":    {"schema", "store"},
	"ingest":   {"schema", "store", "ingest"},
	"query":    {"schema", "store", "query"},
	"replay":   {"schema", "store", "replay"},
	"curate":   {"schema", "store", "curate"},
	"rpc":      {"schema", "store", "ingest", "query", "replay", "curate", "rpc"},
	"cmd":      {"schema", "store", "ingest", "query", "replay", "curate", "rpc", "internal", "cmd"},
	"internal": {"schema", "store", "ingest", "query", "replay", "curate", "rpc", "internal"},
	"bench":    {"schema", "store", "ingest", "query", "replay", "curate", "rpc", "internal", "bench"},
}

// onlyStore are packages that nobody but store may import.
var onlyStore = []string{"store/blob", "store/delta", "store/datafile", "store/index"}

// owners lists who may import a library, by import path prefix; a library that
// stands here is imported by nobody else.
var owners = map[string][]string{
	"github.com/minio/minio-go":                   {"store/blob"},
	"github.com/dgraph-io/badger":                 {"store"},
	"github.com/parquet-go/parquet-go":            {"store", "schema"},
	"google.golang.org/grpc":                      {"rpc"},
	"github.com/apache/arrow/go/v17/arrow/flight": {"rpc"},
	"github.com/apache/arrow/go/v17":              {"schema", "store", "query", "replay", "rpc", "cmd"},
	"github.com/duckdb":                           {"cmd/trajlake-sql"},
	"github.com/spf13/cobra":                      {"cmd"},
	"google.golang.org/protobuf":                  {"schema/pb", "rpc"},
}

// meaningless names hide what a package is for.
var meaningless = []string{"util", "utils", "common", "types", "helpers", "misc", "base", "lib"}

type source struct {
	pkg     string // directory, slash separated
	name    string
	test    bool
	imports []string
	doc     bool
}

func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "build" || d.Name() == "testdata" || d.Name() == "node_modules") {
				return filepath.SkipDir
			}
			if p != "." {
				if _, err := os.Stat(filepath.Join(p, "go.mod")); err == nil {
					return filepath.SkipDir // a module of its own
				}
			}
			return nil
		}
		if filepath.Ext(p) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		s := source{pkg: filepath.ToSlash(filepath.Dir(p)), name: filepath.ToSlash(p), test: strings.HasSuffix(p, "_test.go"), doc: documented(f)}
		for _, i := range f.Imports {
			ip, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, ip)
		}
		out = append(out, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func documented(f *ast.File) bool { return f.Doc != nil && len(f.Doc.Text()) > 20 }

func under(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

func TestImportsRunOneWay(t *testing.T) {
	for _, s := range sources(t) {
		if s.pkg == "." {
			continue
		}
		top, _, _ := strings.Cut(s.pkg, "/")
		allowed, known := mayImport[top]
		if !known {
			t.Errorf("%s: %q is no top-level package of the design", s.name, top)
			continue
		}
		for _, ip := range s.imports {
			rel, ours := strings.CutPrefix(ip, module+"/")
			if !ours {
				continue
			}
			target, _, _ := strings.Cut(rel, "/")
			if !slices.Contains(allowed, target) && !(s.test && target == "internal") {
				t.Errorf("%s: %s may not import %s", s.name, top, rel)
			}
			for _, inner := range onlyStore {
				if under(rel, inner) && top != "store" && top != "internal" && top != "bench" && !s.test {
					t.Errorf("%s: only store imports %s", s.name, inner)
				}
			}
			if under(s.pkg, "store/blob") && !under(rel, "store/blob") && !under(rel, "schema/fault") && !s.test {
				t.Errorf("%s: store/blob is a leaf and may not import %s", s.name, rel)
			}
		}
	}
}

func TestLibrariesHaveOwners(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || under(s.pkg, "internal") || under(s.pkg, "bench") {
			continue
		}
		for _, ip := range s.imports {
			best := ""
			for prefix := range owners {
				if under(ip, prefix) && len(prefix) > len(best) {
					best = prefix
				}
			}
			if best == "" {
				continue
			}
			if !slices.ContainsFunc(owners[best], func(o string) bool { return under(s.pkg, o) }) {
				t.Errorf("%s: %s belongs to %s", s.name, ip, strings.Join(owners[best], ", "))
			}
		}
	}
}

func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	doc := map[string]bool{}
	for _, s := range sources(t) {
		if s.test && s.pkg != "." {
			continue
		}
		doc[s.pkg] = doc[s.pkg] || s.doc
	}
	for pkg, ok := range doc {
		if !ok {
			t.Errorf("package %s has no comment attached to its package clause", pkg)
		}
		if slices.Contains(meaningless, path.Base(pkg)) {
			t.Errorf("package %s: the name does not say what it is for", pkg)
		}
	}
}
