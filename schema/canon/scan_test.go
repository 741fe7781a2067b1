package canon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// scan lists what a stream gives: canonical values and errors with their lines.
func scan(t *testing.T, r io.Reader, opt ScanOptions) []string {
	t.Helper()
	s := NewScanner(r, opt)
	var out []string
	for range 10_000 {
		rec, err := s.Next()
		var bad *RecordError
		switch {
		case err == io.EOF:
			return out
		case errors.As(err, &bad):
			out = append(out, fmt.Sprintf("%d! %s%s", bad.Line, bad.Path, map[bool]string{true: " large"}[bad.TooLarge]))
		case err != nil:
			return append(out, err.Error())
		default:
			out = append(out, fmt.Sprintf("%d@%d %s", rec.Line, rec.Offset, Append(nil, rec.Value)))
		}
	}
	t.Fatal("the scanner does not end")
	return nil
}

func TestScanner(t *testing.T) {
	for _, c := range []struct {
		name, in string
		opt      ScanOptions
		want     string
	}{
		{"empty", "", ScanOptions{}, ""},
		{"blank", " \n\n", ScanOptions{}, ""},
		{"lines", "{\"a\":1}\n\n{\"a\":2}\r\n{\"a\":3}", ScanOptions{}, `1@0 {"a":1}|3@9 {"a":2}|4@18 {"a":3}`},
		{"bom", "\ufeff{\"a\":1}\n", ScanOptions{}, `1@3 {"a":1}`},
		{"two on a line", "{\"a\":1} {\"a\":2}\n{\"a\":3}\n", ScanOptions{}, `1@0 {"a":1}|1@8 {"a":2}|2@16 {"a":3}`},
		{"bad line", "{\"a\":1}\n{\"a\":tru}\n{\"a\":3}\n", ScanOptions{}, `1@0 {"a":1}|2! a|3@18 {"a":3}`},
		{"torn line", "{\"a\":1}\n{\"a\":[1,\n{\"a\":3}\n", ScanOptions{}, `1@0 {"a":1}|2! a[1]|3@17 {"a":3}`},
		{"torn first line", "{\"a\":[1,\n{\"a\":3}\n{\"a\":4}\n", ScanOptions{}, `1! a[1]|2@9 {"a":3}|3@17 {"a":4}`},
		{"torn in a string", "{\"a\":\"x\n{\"a\":3}\n", ScanOptions{}, `1! a|2@8 {"a":3}`},
		{"torn last line", "{\"a\":1}\n{\"a\":", ScanOptions{}, `1@0 {"a":1}|2! a`},
		{"garbage first", "hello\n{\"a\":3}\n", ScanOptions{}, `1! |2@6 {"a":3}`},
		{"pretty", "{\n \"a\": \"}\\\"{\"\n}\n{\n \"a\": 2\n}\n", ScanOptions{}, `1@0 {"a":"}\"{"}|4@17 {"a":2}`},
		{"pretty, bad one", "{\n \"a\": x\n}\n{\n \"a\": 2\n}\n", ScanOptions{}, `2! a|4@12 {"a":2}`},
		{"pretty, torn", "{\n \"a\": 1\n}\n{\n \"a\": 2\n", ScanOptions{}, `1@0 {"a":1}|6! `},
		{"array", " [ {\"a\":1} ,\n[2], 3,\"x,]\" ]\n", ScanOptions{}, `1@3 {"a":1}|2@13 [2]|2@18 3|2@20 "x,]"`},
		{"array, bad element", "[{\"a\":1},\n{\"a\":x},\n{\"a\":3}]", ScanOptions{}, `1@1 {"a":1}|2! a|3@19 {"a":3}`},
		{"array, torn", "[{\"a\":1},\n{\"a\":", ScanOptions{}, `1@1 {"a":1}|2! `},
		{"array, torn after comma", "[{\"a\":1},", ScanOptions{}, `1@1 {"a":1}|1! `},
		{"array, tail", "[1] 2", ScanOptions{}, `1@1 1|1! `},
		{"array wanted", "{}", ScanOptions{Shape: Element}, `1! `},
		{"lines of arrays", "[1]\n[2]\n", ScanOptions{Shape: Values}, `1@0 [1]|2@4 [2]`},
		{"large line", "{\"a\":1}\n\"" + strings.Repeat("x", 500) + "\"\n{\"a\":3}\n", ScanOptions{MaxRecord: 100}, `1@0 {"a":1}|2!  large|3@511 {"a":3}`},
		{"large element", "[1,\"" + strings.Repeat("x", 500) + "\",3]", ScanOptions{MaxRecord: 100}, `1@1 1|1!  large|1@506 3`},
		{"deep", strings.Repeat("[", 600) + strings.Repeat("]", 600) + "\n{\"a\":3}\n", ScanOptions{Shape: Values}, "1! " + strings.Repeat("[0]", 54) + `…|2@1201 {"a":3}`},
		{"resumed", "{\"a\":1}\n{\"a\":2}\n", ScanOptions{Line: 7, Offset: 100}, `7@100 {"a":1}|8@108 {"a":2}`},
		{"unbalanced", "}\n{\"a\":1}\n", ScanOptions{}, `1! |2@2 {"a":1}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.Join(scan(t, strings.NewReader(c.in), c.opt), "|"); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
			if got := strings.Join(scan(t, iotest.OneByteReader(strings.NewReader(c.in)), c.opt), "|"); got != c.want {
				t.Errorf("byte by byte\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestScannerReaderError(t *testing.T) {
	r := io.MultiReader(strings.NewReader("{\"a\":1}\n{\"a\":"), iotest.ErrReader(errors.New("disk on fire")))
	if got := strings.Join(scan(t, r, ScanOptions{}), "|"); got != `1@0 {"a":1}|disk on fire` {
		t.Error(got)
	}
}

func TestScannerPosition(t *testing.T) {
	in := "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n"
	s := NewScanner(strings.NewReader(in), ScanOptions{})
	if _, err := s.Next(); err != nil {
		t.Fatal(err)
	}
	line, off := s.Position()
	rest := scan(t, strings.NewReader(in[off:]), ScanOptions{Line: line, Offset: off})
	if got := strings.Join(rest, "|"); got != `2@8 {"a":2}|3@16 {"a":3}` {
		t.Error(got)
	}
}

// lineOf gives n bytes of one line without holding them.
type lineOf struct{ n int64 }

func (l *lineOf) Read(p []byte) (int, error) {
	if l.n == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), l.n))
	for i := range n {
		p[i] = 'x'
	}
	l.n -= int64(n)
	return n, nil
}

func TestGigabyteLineInBoundedMemory(t *testing.T) {
	size := int64(1 << 30)
	if testing.Short() {
		size = 64 << 20
	}
	r := io.MultiReader(strings.NewReader("{\"a\":1}\n\""), &lineOf{size}, strings.NewReader("\"\n{\"a\":3}\n"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := strings.Join(scan(t, r, ScanOptions{MaxRecord: 16 << 20}), "|")
	runtime.ReadMemStats(&after)
	if want := fmt.Sprintf(`1@0 {"a":1}|2!  large|3@%d {"a":3}`, 8+size+3); got != want {
		t.Errorf("got %s want %s", got, want)
	}
	if alloc := after.TotalAlloc - before.TotalAlloc; alloc > 100<<20 {
		t.Errorf("%d MB allocated for a limit of 16 MB", alloc>>20)
	}
}

// FuzzScanner shows that any input ends, in no more records than it has bytes,
// and that lines of good JSON are all found wherever the reader cuts.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{"{\"a\":1}\n{\"a\":", "[{\"a\":1},\n2,\"x]\"]", "{\n\"a\":1\n}\n{}\n", "}\n]\n\"", "[1,,2]x", "\ufeff[[", "1 2 3\n{", "{}{}{}\n[1]\n"} {
		f.Add([]byte(s), uint8(0))
	}
	f.Fuzz(func(t *testing.T, data []byte, shape uint8) {
		run := func(r io.Reader) (out []string) {
			s := NewScanner(r, ScanOptions{Shape: Shape(shape % 3), MaxRecord: 64})
			for range len(data) + 2 {
				rec, err := s.Next()
				var bad *RecordError
				switch {
				case err == io.EOF:
					return out
				case errors.As(err, &bad):
					out = append(out, bad.Error())
				case err != nil:
					t.Fatal(err)
				default:
					out = append(out, fmt.Sprint(rec.Offset, " ", string(Append(nil, rec.Value))))
				}
			}
			t.Fatalf("more records than bytes: %q", data)
			return nil
		}
		whole, bytewise := run(bytes.NewReader(data)), run(iotest.OneByteReader(bytes.NewReader(data)))
		if strings.Join(whole, "|") != strings.Join(bytewise, "|") {
			t.Fatalf("%q\n%q\n%q", data, whole, bytewise)
		}
	})
}
