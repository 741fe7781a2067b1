package term

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// payloads are texts that do something to a terminal, or to who reads it.
var payloads = []struct{ name, in, want string }{
	{"clear screen", "a\x1b[2Jb", `a\x1b[2Jb`},
	{"colour", "\x1b[31mred\x1b[0m", `\x1b[31mred\x1b[0m`},
	{"OSC title", "\x1b]0;owned\x07", `\x1b]0;owned\x07`},
	{"OSC 52 clipboard", "\x1b]52;c;cm0gLXJmIC8=\x1b\\", `\x1b]52;c;cm0gLXJmIC8=\x1b\`},
	{"OSC 8 link", "\x1b]8;;http://evil\x1b\\ok\x1b]8;;\x1b\\", `\x1b]8;;http://evil\x1b\ok\x1b]8;;\x1b\`},
	{"DCS", "\x1bP+q544e\x1b\\", `\x1bP+q544e\x1b\`},
	{"report status", "\x1b[6n\x1b[c", `\x1b[6n\x1b[c`},
	{"8-bit CSI", "\u009b2J", `\x9b2J`},
	{"raw 8-bit CSI", "\x9b2J", `\x9b2J`},
	{"raw 8-bit OSC", "\x9d0;t\x9c", `\x9d0;t\x9c`},
	{"carriage return", "good\rbad ", `good\rbad `},
	{"backspace", "rm\b\bls", `rm\x08\x08ls`},
	{"bell and null", "\a\x00", `\x07\x00`},
	{"delete", "\x7f", `\x7f`},
	{"vertical tab and form feed", "\v\f", `\x0b\x0c`},
	{"shift out", "\x0e\x0f", `\x0e\x0f`},
	{"bidi override", "a\u202egnp.exe\u202c", `a\u202egnp.exe\u202c`},
	{"bidi isolate", "\u2066x\u2069\u2067y\u2068", `\u2066x\u2069\u2067y\u2068`},
	{"bidi marks", "\u200e\u200f\u061c", `\u200e\u200f\u061c`},
	{"zero width", "pass\u200bword\ufeff\u2060", `pass\u200bword\ufeff\u2060`},
	{"soft hyphen", "a\u00adb", `a\xadb`},
	{"tags", "\U000e0041\U000e007f", `\U000e0041\U000e007f`},
	{"selectors", "x\ufe00\U000e0100", `x\ufe00\U000e0100`},
	{"fillers", "\u3164\u115f\uffa0", `\u3164\u115f\uffa0`},
	{"line separators", "\u2028\u2029\u0085", `\u2028\u2029\x85`},
	{"annotation", "\ufff9a\ufffab\ufffb", `\ufff9a\ufffab\ufffb`},
	{"broken UTF-8", "a\xffb\xc3", `a\xffb\xc3`},
	{"surrogate bytes", "\xed\xa0\x80", `\xed\xa0\x80`},
	{"overlong escape", "\xc0\x9b[2J", `\xc0\x9b[2J`},
	{"plain", "plain ASCII, 轨迹, é, 👩\u200d🔬, ❤\ufe0f", "plain ASCII, 轨迹, é, 👩\u200d🔬, ❤\ufe0f"},
	{"empty", "", ""},
}

func TestEscape(t *testing.T) {
	for _, p := range payloads {
		if got := Text(p.in); got != p.want {
			t.Errorf("%s: Text(%q) = %q, want %q", p.name, p.in, got, p.want)
		}
		if got := Line(p.in); got != p.want {
			t.Errorf("%s: Line(%q) = %q, want %q", p.name, p.in, got, p.want)
		}
	}
	if got, want := Text("a\n\tb"), "a\n\tb"; got != want {
		t.Errorf("Text keeps lines: %q", got)
	}
	if got, want := Line("a\n\tb"), `a\n\tb`; got != want {
		t.Errorf("Line escapes them: %q, want %q", got, want)
	}
}

// TestNothingGetsThrough checks the property on random bytes: valid UTF-8 without
// a single control or format character comes out.
func TestNothingGetsThrough(t *testing.T) {
	const seed = 7
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		b := make([]byte, r.IntN(40))
		for i := range b {
			b[i] = byte(r.IntN(256))
		}
		s := string(b) + string(rune(r.IntN(0x110000)))
		out := Line(s)
		if !utf8.ValidString(out) {
			t.Fatalf("%q became %q: not UTF-8", s, out)
		}
		if i := strings.IndexFunc(out, func(c rune) bool { return !visible(c, false) }); i >= 0 {
			t.Fatalf("%q became %q: character at %d", s, out, i)
		}
		if Line(out) != out {
			t.Fatalf("%q is escaped twice", out)
		}
	}
}

func TestStyle(t *testing.T) {
	env := func(string) string { return "" }
	if s := StyleOf(&bytes.Buffer{}, env); s.Red("x") != "x" {
		t.Error("a buffer was painted")
	}
	if got := Painted().Red("x"); got != "\x1b[31mx\x1b[0m" {
		t.Errorf("painted: %q", got)
	}
	if Painted().Dim("") != "" {
		t.Error("the empty text was painted")
	}
	if Width(&bytes.Buffer{}) != 0 {
		t.Error("a buffer has a width")
	}
}
