package canon

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
)

// TestLargeInPlace: a large document, whose strings are decoded where they stand,
// means what a small one does, and its errors name the right line.
func TestLargeInPlace(t *testing.T) {
	text := strings.Repeat(`a\n\t\"\u00e4\ud83d\ude00\\ `, 40_000)
	doc := `{"a":"` + text + "\",\n \"b\":[\"x\\ny\",1],\n \"c\":\"" + text + `"}`
	want := strings.Repeat("a\n\t\"ä😀\\ ", 40_000)
	v, err := Parse([]byte(doc), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"a", "c"} {
		m, _ := v.Get(k)
		if s, _ := m.Str(); s != want {
			t.Errorf("%s is not what was written", k)
		}
	}
	b, _ := v.Get("b")
	if s, _ := b.At(0).Str(); s != "x\ny" || b.At(1).Raw() != "1" {
		t.Errorf("b is %s", Compact(b))
	}
	_, err = Parse([]byte(doc[:len(doc)-1]+",\n\"d\":nope}"), Limits{})
	var syn *SyntaxError
	if !errors.As(err, &syn) || syn.Line != 4 || syn.Path != "d" {
		t.Errorf("error %v, want one of d on line 4", err)
	}
}

// TestEndlessLine: a line over the limit costs no more memory than the limit, and
// those behind it come.
func TestEndlessLine(t *testing.T) {
	const limit, line = 32 << 20, 512 << 20
	in := io.MultiReader(strings.NewReader("{\"n\":1}\n{\"n\":\""), io.LimitReader(letters{}, line), strings.NewReader("\"}\n{\"n\":3}\n"))
	sc := NewScanner(in, ScanOptions{MaxRecord: limit})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var got []string
	for {
		rec, err := sc.Next()
		var bad *RecordError
		if err == io.EOF {
			break
		}
		switch {
		case errors.As(err, &bad) && bad.TooLarge:
			got = append(got, "too large")
			if bad.Line != 2 || bad.Bytes < line {
				t.Errorf("line %d, %d bytes", bad.Line, bad.Bytes)
			}
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, string(Compact(rec.Value)))
		}
	}
	runtime.ReadMemStats(&after)
	if strings.Join(got, " ") != `{"n":1} too large {"n":3}` {
		t.Errorf("got %q", got)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > limit+limit/2 {
		t.Errorf("%d bytes were allocated for a limit of %d", used, limit)
	}
}

// letters is an endless stream.
type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

// TestTooManyValues: a document of very many tiny values would take many times its
// size in memory.
func TestTooManyValues(t *testing.T) {
	_, err := Parse([]byte("["+strings.Repeat("[],", maxValues)+"0]"), Limits{})
	var syn *SyntaxError
	if !errors.As(err, &syn) || !strings.Contains(syn.Msg, "values") {
		t.Errorf("error %v", err)
	}
}
