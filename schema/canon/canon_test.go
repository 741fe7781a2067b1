package canon

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
)

func parse(t *testing.T, s string) Value {
	t.Helper()
	v, err := Parse([]byte(s), Limits{})
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return v
}

func TestCanonicalForm(t *testing.T) {
	for _, c := range [][2]string{
		{` { "b" : 1 , "a" : [ ] } `, `{"a":[],"b":1}`},
		{`[1.0,1e0,-0,-0.0,0e5,100e-2,1.50,12.5e1,1E2]`, `[1,1,0,0,0,1,1.5,125,100]`},
		{`[0.1,1e-7,1e-6,0.0000012345,123456.789e-1]`, `[0.1,1e-7,0.000001,0.0000012345,12345.6789]`},
		{`[9007199254740992,9007199254740992.0,9007199254740993,9007199254740993.0,1e300,1e999,-1e400]`,
			`[9007199254740992,9007199254740992,9007199254740993,9007199254740993.0,1e300,1e999,-1e400]`},
		{`[1e-999,9007199254740991.0,1.00000000000000000001]`, `[0,9007199254740991,1]`},
		{`"\u0041\/\u00e9\ud83d\ude00\u0007\u001F\t\u2028"`, "\"A/é😀\\u0007\\u001f\\t\u2028\""},
		{`{"é":1,"z":2,"😀":3,"":4,"A":5}`, `{"":4,"A":5,"z":2,"é":1,"😀":3}`},
		{`[1,2,"x",null,true,false,{}]`, `[1,2,"x",null,true,false,{}]`},
		{`"a\\b\"c\b\f\n\r"`, `"a\\b\"c\b\f\n\r"`},
	} {
		got := string(Append(nil, parse(t, c[0])))
		if got != c[1] {
			t.Errorf("canonical form of %s\n got %s\nwant %s", c[0], got, c[1])
		}
		if again := string(Append(nil, parse(t, got))); again != got {
			t.Errorf("the canonical form of %s is not its own: %s", got, again)
		}
	}
}

func TestCompactKeepsOrderAndNumbers(t *testing.T) {
	in := `{"b":1.50,"a":[1e0,2,"x\n"],"c":{}}`
	if got := string(Compact(parse(t, " "+strings.ReplaceAll(in, ",", " ,\n")))); got != in {
		t.Errorf("got %s want %s", got, in)
	}
}

func TestSyntaxErrorsNameThePlace(t *testing.T) {
	deep := strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
	for _, c := range []struct{ in, path, msg string }{
		{"", "", "too early"},
		{`{"a":1,"a":2}`, "a", "twice"},
		{`{"t":[{"x":1},{"x":NaN}]}`, "t[1].x", "NaN"},
		{`{"t":[1,-Infinity]}`, "t[1]", "-Infinity"},
		{`{"r":Infinity}`, "r", "Infinity"},
		{`{"a b":[tru]}`, `["a b"][0]`, "no JSON value"},
		{"{\"a\":\"x\xff\"}", "a", "invalid UTF-8"},
		{`{"a":"\ud800x"}`, "a", "lone surrogate"},
		{`{"a":"\udc00\ud800"}`, "a", "lone surrogate"},
		{`{"a":"\q"}`, "a", "escape"},
		{`{"a":"\u12g4"}`, "a", "escape"},
		{"[\"a\nb\"]", "[0]", "control character"},
		{`[1,2`, "[2]", "too early"},
		{`[1,]`, "[1]", "no JSON value"},
		{`[1 2]`, "[1]", "','"},
		{`{"a":1,}`, "", "key"},
		{`{"a" 1}`, "a", "':'"},
		{`{} x`, "", "after the end"},
		{`[01]`, "[0]", "malformed number"},
		{`[1.]`, "[0]", "malformed number"},
		{`[-]`, "[0]", "malformed number"},
		{`[1e]`, "[0]", "malformed number"},
		{`"abc`, "", "inside a string"},
		{`"abc\`, "", "inside a string"},
		{deep, strings.Repeat("[0]", 54) + "…", "deeper"},
	} {
		_, err := Parse([]byte(c.in), Limits{})
		var syn *SyntaxError
		if !errors.As(err, &syn) {
			t.Errorf("%.40q: want a SyntaxError, got %v", c.in, err)
			continue
		}
		if syn.Path != c.path || !strings.Contains(syn.Msg, c.msg) {
			t.Errorf("%.40q: got path %.60q, %q; want path %.60q, %q", c.in, syn.Path, syn.Msg, c.path, c.msg)
		}
	}
	_, err := Parse([]byte("{\n\"a\":\n  x}"), Limits{})
	if syn := err.(*SyntaxError); syn.Line != 3 || syn.Offset != 9 {
		t.Errorf("place: line %d, byte %d", syn.Line, syn.Offset)
	}
	if _, err := Parse([]byte(deep), Limits{Depth: 5000}); err != nil {
		t.Errorf("depth limit raised: %v", err)
	}
	if _, err := Parse([]byte(`[[]]`), Limits{Depth: 1}); err == nil {
		t.Error("depth limit 1 let two levels in")
	}
	if _, err := Parse([]byte(`"12345"`), Limits{Bytes: 6}); err == nil {
		t.Error("size limit not applied")
	}
}

func TestDuplicateKeysInLargeObjects(t *testing.T) {
	for _, n := range []int{13, 100, 5000} {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"k%d":0,`, i)
		}
		if v := parse(t, "{"+b.String()+`"x":1}`); v.Len() != n+1 || !v.Has("k3") || v.Has("y") {
			t.Errorf("%d keys: len %d", n, v.Len())
		}
		if _, err := Parse([]byte("{"+b.String()+`"k7":1}`), Limits{}); err == nil {
			t.Errorf("%d keys: repeated key accepted", n)
		}
	}
}

func TestAccess(t *testing.T) {
	v := parse(t, `{"s":"x","n":[1, 2.5 ,-3e0],"m":[1,"a",2],"b":true,"z":null,"o":{"k":0}}`)
	n, _ := v.Get("n")
	if n.Len() != 3 || n.At(1).Raw() != "2.5" || n.At(3).Kind() != Null || n.At(-1).Kind() != Null {
		t.Error("numbers by index")
	}
	if i, ok := n.At(2).Int(); !ok || i != -3 {
		t.Error("int of -3e0", i, ok)
	}
	if _, ok := n.At(1).Int(); ok {
		t.Error("2.5 is no integer")
	}
	if f, ok := n.At(1).Float(); !ok || f != 2.5 {
		t.Error("float of 2.5")
	}
	var raws []string
	m, _ := v.Get("m")
	for i, e := range m.Items() {
		s, _ := e.Str()
		raws = append(raws, fmt.Sprint(i, e.Kind(), s, e.Raw()))
	}
	if got := strings.Join(raws, "|"); got != "0number1|1stringa|2number2" && got != "0 number 1|1 string a |2 number 2" && len(raws) != 3 {
		t.Error(got)
	}
	var keys []string
	for k := range v.Members() {
		keys = append(keys, k)
	}
	if strings.Join(keys, "") != "snmbzo" {
		t.Error(keys)
	}
	if b, ok := v.At(0).Bool(); b || ok {
		t.Error("null is no boolean")
	}
	z, ok := v.Get("z")
	if !ok || !z.IsNull() || !v.Has("z") {
		t.Error("null member")
	}
	for _, c := range []struct {
		text string
		n    int64
		ok   bool
	}{{"9223372036854775807", math.MaxInt64, true}, {"-9223372036854775808", math.MinInt64, true}, {"9223372036854775808", 0, false},
		{"-9223372036854775809", 0, false}, {"1e18", 1e18, true}, {"1e19", 0, false}, {"0e999999999999", 0, true}, {"1e-999999999999", 0, false}, {"1200e-2", 12, true}} {
		v, ok := Num(c.text)
		if !ok {
			t.Fatal(c.text)
		}
		if n, ok := v.Int(); ok != c.ok || ok && n != c.n {
			t.Errorf("Int of %s: %d %v", c.text, n, ok)
		}
	}
}

func TestBuilt(t *testing.T) {
	v := Obj(M("b", Arr(IntOf(1), FloatOf(0.5), FloatOf(math.NaN()))), M("a", Str("x\xff")), M("b", Value{}), M("t", BoolOf(true)))
	want := `{"a":"x` + "\uFFFD" + `","b":[1,0.5,null],"t":true}`
	if got := string(Append(nil, v)); got != want {
		t.Errorf("got %s want %s", got, want)
	}
	if _, ok := Num("1x"); ok {
		t.Error("1x is no number")
	}
}

func TestFloat32Text(t *testing.T) {
	for f, want := range map[float32]string{-0.11: "-0.11", 0: "0", 1: "1", 1e-7: "1e-7", 3.4e38: "3.4e+38", 16777216: "16777216"} {
		if got := string(AppendFloat32(nil, f)); got != want {
			t.Errorf("%v: got %s want %s", f, got, want)
		}
	}
}

func TestSourceDigest(t *testing.T) {
	var salt [32]byte
	for i := range salt {
		salt[i] = byte(i)
	}
	got := hex.EncodeToString(SourceDigest(salt, []byte(`{"a":1}`)))
	const want = "2dd1614230b533ffd80e16b72ae288daeb158eaef786508432383abb5708ca29" // computed with Python's hmac and hashlib
	if got != want {
		t.Errorf("got %s want %s", got, want)
	}
}

// TestAgainstEncodingJSON compares structure and values with the standard library's reader.
func TestAgainstEncodingJSON(t *testing.T) {
	const seed = 7
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		want := randomAny(r, 4)
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var back any
		canonical := Append(nil, parse(t, string(text)))
		if err := json.Unmarshal(canonical, &back); err != nil {
			t.Fatalf("%s: %v", canonical, err)
		}
		again, _ := json.Marshal(back)
		if !bytes.Equal(again, text) {
			t.Fatalf("in %s\nout %s", text, again)
		}
	}
}

func randomAny(r *rand.Rand, depth int) any {
	k := r.IntN(7)
	if depth == 0 {
		k = r.IntN(5)
	}
	switch k {
	case 0:
		return nil
	case 1:
		return r.IntN(2) == 0
	case 2:
		return float64(r.IntN(1 << 20))
	case 3:
		return r.NormFloat64()
	case 4:
		var s []rune
		for range r.IntN(20) {
			s = append(s, []rune("a\"\\\n\t\x01éß轨迹😀 </>")[r.IntN(15)])
		}
		return string(s)
	case 5:
		a := make([]any, r.IntN(5))
		for i := range a {
			a[i] = randomAny(r, depth-1)
		}
		return a
	}
	m := map[string]any{}
	for range r.IntN(20) {
		m[fmt.Sprint("k", r.IntN(30))] = randomAny(r, depth-1)
	}
	return m
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":[1,2,{"b":"\u00e9\ud83d\ude00"}],"c":1e-7}`, `[1,"x",2]`, `{"a":1,"a":2}`, "\"\xff\"", `[[[[`, `-`, `1e400`, `[0,0.50,-0]`, `"\ud800"`, `NaN`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := Parse(data, Limits{})
		if err != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("accepted what is no JSON: %q", data)
		}
		c := Append(nil, v)
		w, err := Parse(c, Limits{})
		if err != nil {
			t.Fatalf("canonical form of %q does not parse: %q: %v", data, c, err)
		}
		if again := Append(nil, w); !bytes.Equal(again, c) {
			t.Fatalf("canonical form is not a fixed point: %q %q", c, again)
		}
		if w, err := Parse(Compact(v), Limits{}); err != nil || !bytes.Equal(Append(nil, w), c) {
			t.Fatalf("compact form differs: %q", data)
		}
	})
}

func chatDocument(turns int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"trajectory_id":"toy-1","reward":0.5,"turns":[`)
	for i := range turns {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"role":"assistant","sampled":true,"text":"%s","tool_calls":[{"name":"calc","args_raw":"{\"e\":\"%d+2\"}","result":"%s\nline two\nline three"}]}`,
			strings.Repeat("some words of an answer ", 20), i, strings.Repeat("observation ", 30))
	}
	b.WriteString(`],"token_ids":[`)
	for i := range turns * 200 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, i*7919%50000)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

func BenchmarkParse(b *testing.B) {
	doc := chatDocument(50)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(doc, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	doc := chatDocument(50)
	v, _ := Parse(doc, Limits{})
	b.SetBytes(int64(len(doc)))
	var buf []byte
	for b.Loop() {
		buf = Append(buf[:0], v)
	}
}

// TestMemoryOfADocument holds the bound of the package: a document of short
// tokens, the worst real case, takes at most six times its text.
func TestMemoryOfADocument(t *testing.T) {
	doc := []byte("[" + strings.TrimSuffix(strings.Repeat("[0,1,1,0,1,12,345],", 100_000), ",") + "]")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	v, err := Parse(doc, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	ratio := float64(after.HeapAlloc-before.HeapAlloc) / float64(len(doc))
	t.Logf("%.1f times the text", ratio)
	if ratio > 6 {
		t.Errorf("%.1f times the text", ratio)
	}
	runtime.KeepAlive(v)
}
