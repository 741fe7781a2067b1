package formats

import (
	"bytes"
	"fmt"
	"path"
	"strings"

	"trajlake/schema/canon"
	"trajlake/schema/fault"
)

// Sample is the beginning of a file, as far as it is JSON: its first record, cut
// short where the sample ends.
type Sample struct {
	name  string
	head  []byte
	first canon.Value
	whole bool // the first value ends within the sample
	why   error
}

// NewSample looks at the first bytes of a file.
func NewSample(head []byte, name string) *Sample {
	s := &Sample{name: name, head: bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))}
	s.first, s.whole, s.why = firstValue(s.head)
	return s
}

// sampleOf is a sample whose first record is v.
func sampleOf(v canon.Value) *Sample { return &Sample{first: v, whole: true} }

// Empty reports whether there is nothing but blanks.
func (s *Sample) Empty() bool { return len(bytes.TrimSpace(s.head)) == 0 }

// IsArray reports whether the file's first value is an array.
func (s *Sample) IsArray() bool { return s.first.Kind() == canon.Array }

// Top is the file's first value, as far as it was seen.
func (s *Sample) Top() canon.Value { return s.first }

// Record is the file's first value, or the first element if that is an array.
func (s *Sample) Record() canon.Value {
	if s.IsArray() {
		return s.first.At(0)
	}
	return s.first
}

// firstLineWhole reports whether the first value ends on the line it begins on.
func (s *Sample) firstLineWhole() bool {
	line, _, _ := bytes.Cut(bytes.TrimLeft(s.head, " \t\r\n"), []byte("\n"))
	_, whole := cutShort(line)
	return whole
}

// unknown is the error for a file that no importer knows.
func (s *Sample) unknown() error {
	e := fault.New(fault.Invalid, "read "+s.name, "no known trajectory format is recognised")
	r := s.Record()
	switch {
	case s.first.IsNull() && s.why != nil:
		e.Msg += ": " + s.why.Error()
		return e.WithHint("the importers read JSON and JSON lines")
	case looksLikeOther(r) != "":
		return e.WithHint("it looks like %s, which this version does not import", looksLikeOther(r))
	case r.Kind() == canon.Object:
		return e.WithHint("its first record has the keys %s; --format names a format", keyList(r))
	}
	return e.WithHint("its first record is a JSON %s", r.Kind())
}

func keyList(v canon.Value) string {
	var keys []string
	for k := range v.Members() {
		if len(keys) == 8 {
			keys = append(keys, "…")
			break
		}
		keys = append(keys, clip(k, 40))
	}
	return strings.Join(keys, ", ")
}

// looksLikeOther names a format that is known but not read, to say so.
func looksLikeOther(v canon.Value) string {
	has := func(keys ...string) bool {
		for _, k := range keys {
			if !v.Has(k) {
				return false
			}
		}
		return true
	}
	switch {
	case has("trajectory", "environment") || has("history", "trajectory"):
		return "a SWE-agent trajectory (swe_agent)"
	case has("conversations"):
		return "ShareGPT conversations (sharegpt)"
	case has("eval", "samples"), has("eval", "plan"):
		return "an Inspect log (inspect)"
	case has("instance_id", "history"), has("action", "source", "args"), has("observation", "cause"):
		return "OpenHands events (openhands)"
	case has("sessionId", "messages"):
		return "a Gemini CLI session (gemini)"
	case has("parentUuid"), has("uuid", "sessionId"):
		return "a Claude Code session (claude_code)"
	case has("prompt", "completion") && (has("reward") || has("answer")):
		return "verifiers results (verifiers)"
	case has("responses_create_params"):
		return "NeMo Gym rollouts (nemo_gym)"
	case has("interactions", "version"):
		return "recorded HTTP exchanges (VCR)"
	case v.Len() > 0 && verdictKeys(v):
		return "a SWE-bench report: verdicts, not trajectories"
	}
	return ""
}

// verdictKeys reports whether every member is a SWE-bench verdict.
func verdictKeys(v canon.Value) bool {
	for _, m := range v.Members() {
		if !m.Has("resolved") || !m.Has("patch_exists") {
			return false
		}
	}
	return true
}

// notText tells files that are no text at all, and Git LFS pointers, from the rest.
func notText(head []byte, name string) error {
	op := "read " + name
	if bytes.HasPrefix(head, []byte("version https://git-lfs.github.com/spec/")) {
		e := fault.New(fault.Invalid, op, "this is a Git LFS pointer, not the file itself%s", lfsFacts(head))
		return e.WithHint("fetch the content first: git lfs pull --include %s", path.Base(name))
	}
	for _, m := range []struct{ magic, what string }{
		{"\x1f\x8b", "gzip data"}, {"\x28\xb5\x2f\xfd", "zstd data"}, {"PK\x03\x04", "a ZIP archive"}, {"PAR1", "a Parquet file"},
		{"ARROW1", "an Arrow file"}, {"SQLite format 3\x00", "an SQLite database"}, {"\x89PNG", "a PNG image"}, {"\x7fELF", "a program"},
		{"\xff\xfe", "UTF-16 text"}, {"\xfe\xff", "UTF-16 text"},
	} {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return fault.New(fault.Invalid, op, "this is %s, not JSON", m.what)
		}
	}
	if i := bytes.IndexByte(head[:min(len(head), 8192)], 0); i >= 0 {
		return fault.New(fault.Invalid, op, "this is a binary file (a zero byte at offset %d), not JSON", i)
	}
	return nil
}

// lfsFacts quotes the size that the pointer states.
func lfsFacts(head []byte) string {
	for line := range strings.Lines(string(head[:min(len(head), 1024)])) {
		if size, ok := strings.CutPrefix(strings.TrimSpace(line), "size "); ok {
			return fmt.Sprintf(" (of %s bytes)", clip(size, 20))
		}
	}
	return ""
}

// firstValue parses the first value of b. Where b ends inside it, the value is
// cut after the last part that is whole.
func firstValue(b []byte) (v canon.Value, whole bool, err error) {
	text, whole := cutShort(b)
	v, err = canon.Parse(text, canon.Limits{})
	return v, whole, err
}

// cutShort is the first value of b, closed after the last whole part if b ends
// before it does.
func cutShort(b []byte) (text []byte, whole bool) {
	var stack []byte     // of '{' and '['
	key := false         // in an object, a key comes next
	good, depth := -1, 0 // where and how deep the last whole value ended
	for i := 0; i < len(b); {
		switch c := b[i]; c {
		case ' ', '\t', '\r', '\n', ':':
			i++
			continue
		case ',':
			key = len(stack) > 0 && stack[len(stack)-1] == '{'
			i++
			continue
		case '{', '[':
			stack = append(stack, c)
			key = c == '{'
			i++
			if good < 0 { // an empty container is a whole part, too
				good, depth = i, len(stack)
			}
			continue
		case '}', ']':
			if len(stack) > 0 {
				stack = stack[:len(stack)-1]
			}
			i++
		case '"':
			n := stringLen(b[i:])
			if n == 0 {
				i = len(b)
				continue
			}
			i += n
			if key {
				key = false
				continue
			}
		default:
			n := bytes.IndexAny(b[i:], ",]} \t\r\n")
			if n <= 0 {
				if n == 0 || len(stack) > 0 {
					i = len(b)
					continue
				}
				n = len(b) - i
			}
			i += n
		}
		good, depth = i, len(stack)
		if depth == 0 {
			return b[:i], true
		}
	}
	if good < 0 {
		return b, false
	}
	out := bytes.Clone(b[:good])
	for d := depth - 1; d >= 0; d-- {
		out = append(out, stack[d]+2) // '{' + 2 is '}', '[' + 2 is ']'
	}
	return out, false
}

// stringLen is the length of the JSON string that b begins with; 0 if it does not end.
func stringLen(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// clip cuts s for a message.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

func at(name string, line int64) string {
	if line <= 0 {
		return "import " + name
	}
	return fmt.Sprintf("import %s:%d", name, line)
}
