package delta

import (
	"cmp"
	"iter"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"trajlake/schema"
)

// File is one live data file of a State. It is never modified.
type File struct {
	Add
	FirstSeq      int64 // least place of its rows; row i of a fresh file has FirstSeq+i
	Rows          int64 // numRecords of the statistics; -1 if they do not say
	Version       int64 // version that committed it fresh; -1 if its places are columns
	PlacesColumns bool  // the file has columns row_version and row_seq, rows in any order of places
}

// fileOf reads the places of a file from its tags.
func fileOf(a *Add) *File {
	f := &File{Add: *a, Rows: numRecords(a.Stats), Version: -1}
	f.PlacesColumns = a.Tags[TagPlaces] == PlacesColumns
	first, ok := parseCount(a.Tags[TagFirstSeq])
	if !ok && f.PlacesColumns { // the least place is in the statistics, too
		if st, err := ParseStats(a.Stats); err == nil {
			first, _ = st.Column("row_seq", schema.Long).Min.(int64)
		}
	}
	f.FirstSeq = max(first, 0)
	if v, ok := parseCount(a.Tags[TagVersion]); ok && !f.PlacesColumns {
		f.Version = v
	}
	return f
}

// placed reports whether the tags say where the rows of a belong.
func placed(a *Add) bool {
	if a.Tags[TagPlaces] == PlacesColumns {
		return true
	}
	_, first := parseCount(a.Tags[TagFirstSeq])
	_, version := parseCount(a.Tags[TagVersion])
	return first && version
}

// fresh reports whether a brings new rows, whose places the commit gives.
func (a *Add) fresh() bool { return a.DataChange && a.Tags[TagPlaces] != PlacesColumns }

func parseCount(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 0
}

// numRecords is the row count in a statistics text, -1 if there is none.
func numRecords(stats string) int64 {
	if rest, ok := strings.CutPrefix(stats, `{"numRecords":`); ok {
		end := strings.IndexAny(rest, ",}")
		if end > 0 {
			if n, ok := parseCount(rest[:end]); ok {
				return n
			}
		}
	}
	var s struct {
		NumRecords *int64 `json:"numRecords"`
	}
	if json.Unmarshal([]byte(stats), &s) != nil || s.NumRecords == nil || *s.NumRecords < 0 {
		return -1
	}
	return *s.NumRecords
}

// Files is the set of live files of a State, immutable.
type Files struct {
	bySeq  sorted[File]
	byPath sorted[File]
}

func cmpSeq(a, b *File) int {
	return cmp.Or(cmp.Compare(a.FirstSeq, b.FirstSeq), strings.Compare(a.Path, b.Path))
}

func cmpPath(a, b *File) int { return strings.Compare(a.Path, b.Path) }

func filesOf(files []*File) Files {
	byPath := sortedOf(cmpPath, files)
	unique := make([]*File, 0, byPath.n)
	for f := range byPath.all() {
		unique = append(unique, f)
	}
	return Files{sortedOf(cmpSeq, unique), byPath}
}

// Len is the number of files.
func (f Files) Len() int { return f.byPath.n }

// Get finds a file by its path; nil if it is not live.
func (f Files) Get(path string) *File { return f.byPath.get(&File{Add: Add{Path: path}}) }

// All yields the files by FirstSeq, then path.
func (f Files) All() iter.Seq[*File] { return f.bySeq.all() }

// From yields the files whose FirstSeq is at least seq, in the order of All.
func (f Files) From(seq int64) iter.Seq[*File] {
	return func(yield func(*File) bool) {
		c, i, _ := f.bySeq.find(&File{FirstSeq: seq})
		for ; c < len(f.bySeq.chunks); c, i = c+1, 0 {
			for _, x := range f.bySeq.chunks[c][i:] {
				if !yield(x) {
					return
				}
			}
		}
	}
}

func (f Files) with(x *File) Files {
	if old := f.Get(x.Path); old != nil {
		f.bySeq = f.bySeq.without(old)
	}
	return Files{f.bySeq.with(x), f.byPath.with(x)}
}

func (f Files) without(path string) Files {
	old := f.Get(path)
	if old == nil {
		return f
	}
	return Files{f.bySeq.without(old), f.byPath.without(old)}
}
