package formats

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"iter"
	"strings"

	"trajlake/schema"
	"trajlake/schema/canon"
)

// tau2Bench reads what tau2-bench writes: a results file {timestamp, info,
// tasks, simulations}, one simulation in a file of its own (with the
// results.json of its run beside its folder, if there is one), a list of
// simulations, or a results.json of which the simulations stand in files.
type tau2Bench struct{}

func (tau2Bench) Name() string { return "tau2_bench" }

func (tau2Bench) Sniff(s *Sample) int {
	r := s.Record()
	switch {
	case isTau2Header(r):
		return 97
	case isSimulation(r):
		return 93
	}
	return 0
}

func isTau2Header(v canon.Value) bool {
	info := get(v, "info")
	return info.Has("environment_info") || info.Has("agent_info") && info.Has("user_info") || v.Has("simulations")
}

func isSimulation(v canon.Value) bool {
	return v.Has("task_id") && v.Has("termination_reason") && (v.Has("messages") || v.Has("ticks") || v.Has("reward_info"))
}

// tau2Header is what a results file says of all of its simulations.
type tau2Header struct {
	timestamp canon.Value
	info      canon.Value
	tasks     map[string]canon.Value
	rest      []canon.Member
	run       string // tells runs apart: 12 hex digits of the header's digest
	beside    bool   // it was read from another file
	infoText  []byte // canonical bytes of info
	policy    string // digest of the policy
}

func (h *tau2Header) take(key string, v canon.Value) {
	switch key {
	case "timestamp":
		h.timestamp = v
	case "info":
		h.info = v
	case "tasks":
		h.tasks = make(map[string]canon.Value, v.Len())
		for _, t := range v.Items() {
			if id := idText(get(t, "id")); id != nil {
				h.tasks[*id] = t
			}
		}
	case "simulation_index": // where the simulations stand: says nothing about them
	default:
		h.rest = append(h.rest, canon.M(key, v))
	}
}

func (h *tau2Header) close() {
	h.infoText = canon.Append(nil, h.info)
	if p, ok := get(h.info, "environment_info", "policy").Str(); ok {
		h.policy = digest([]byte(p))
	}
	if h.info.IsNull() && h.timestamp.IsNull() {
		return
	}
	sum := sha256.Sum256(canon.Append(nil, canon.Obj(canon.M("info", h.info), canon.M("timestamp", h.timestamp))))
	h.run = hex.EncodeToString(sum[:6])
}

// canonical are the bytes of a simulation with the parts of the header that
// belong to it: the same whether it stands in the results file or beside it. The
// keys are written in their order, and the header's parts once for all.
func (h *tau2Header) canonical(d document, task canon.Value) []byte {
	out := make([]byte, 0, d.size+int64(len(h.infoText))+1024)
	out = append(out, '{')
	if !h.info.IsNull() {
		out = append(append(append(out, `"info":`...), h.infoText...), ',')
	}
	out = canon.Append(append(out, `"simulation":`...), d.value)
	if !task.IsNull() {
		out = canon.Append(append(out, `,"task":`...), task)
	}
	if !h.timestamp.IsNull() {
		out = canon.Append(append(out, `,"timestamp":`...), h.timestamp)
	}
	return append(out, '}')
}

func (im tau2Bench) Read(ctx context.Context, r io.Reader, src Source) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		o, err := openSource(r, src)
		if err != nil {
			yield(Record{Err: err})
			return
		}
		if o.sample().Empty() {
			return
		}
		if o.sample().IsArray() || !isTau2Header(o.sample().Top()) {
			h := im.beside(src)
			scanAll(ctx, o.r, src, canon.ScanOptions{MaxRecord: src.MaxRecord}, 0, func(d document) []Record { return im.document(d, src, h) }, yield)
			return
		}
		f := &tau2File{im: im, ctx: ctx, src: src, yield: yield}
		f.section = section{r: o.r, line: 1, max: recordLimit(src)}
		f.run()
	}
}

func recordLimit(src Source) int64 {
	if src.MaxRecord > 0 {
		return src.MaxRecord
	}
	return 256 << 20
}

// beside reads the header of the run that a simulation's own file belongs to.
func (im tau2Bench) beside(src Source) *tau2Header {
	h := &tau2Header{beside: true}
	if src.Open == nil {
		return h
	}
	f, err := src.Open("../results.json")
	if err != nil {
		return h
	}
	defer f.Close()
	s := section{r: bufio.NewReaderSize(f, sniffWindow), line: 1, max: recordLimit(src)}
	if isObject, err := s.open(); err != nil || !isObject {
		return h
	}
	for {
		key, done, err := s.key()
		if done || err != nil {
			break
		}
		if key == "simulations" {
			b := &bounded{s: &s}
			if _, err = io.Copy(io.Discard, b); err != nil {
				break
			}
			continue
		}
		v, err := s.value()
		if err != nil {
			break
		}
		h.take(key, v)
	}
	h.close()
	return h
}

// document maps a value that stands alone or in a list: a simulation, or a whole
// results object.
func (im tau2Bench) document(d document, src Source, h *tau2Header) []Record {
	if !isTau2Header(d.value) {
		return im.simulation(d, src, h)
	}
	own := &tau2Header{}
	for k, v := range d.value.Members() {
		if k != "simulations" {
			own.take(k, v)
		}
	}
	own.close()
	var out []Record
	for i, sim := range get(d.value, "simulations").Items() {
		out = append(out, im.simulation(document{value: sim, line: d.line, index: d.index + int64(i)}, src, own)...)
	}
	return out
}

// simulation maps one simulation.
func (im tau2Bench) simulation(d document, src Source, h *tau2Header) []Record {
	v := d.value
	if !v.Has("task_id") || !v.Has("messages") && !v.Has("ticks") {
		return wrong(src, d, im, "it has no task_id and messages")
	}
	if id := idText(get(v, "task_id")); id != nil && h.beside && h.tasks != nil {
		if _, known := h.tasks[*id]; !known {
			h = &tau2Header{} // another run's results stand beside it
		}
	}
	b := newBuilder(im.Name())
	m := tau2Map{builder: b}
	if ts := get(v, "messages"); !ts.IsNull() {
		b.chat(ts, chat{list: "messages", key: m.key, resultKey: m.resultKey, done: m.done, status: tau2Status})
	}
	if len(b.turns) == 0 && b.err == nil {
		t := b.add("event") // a voice run without a transcript
		t.Sampled, t.RoleRaw = some(false), some("ticks")
	}
	m.members(v)
	task := canon.Value{}
	if b.row.TaskID != nil {
		task = h.tasks[*b.row.TaskID]
	}
	m.header(h, task)
	var run *string
	if h.run != "" {
		run = &h.run
	}
	b.groupBy(src, run)
	recs := b.done(src, d, h.canonical(d, task))
	if id, ok := get(v, "id").Str(); ok && id != "" && recs[0].Row != nil {
		recs[0].Row.TrajectoryID, recs[0].ExplicitID = id, true
	}
	return recs
}

// tau2File reads a results file: its members one by one, its simulations one by
// one.
type tau2File struct {
	section
	im    tau2Bench
	ctx   context.Context
	src   Source
	yield func(Record) bool
	h     tau2Header
	index int64
	spool *spool // simulations that stood before info and tasks
}

func (f *tau2File) run() {
	defer func() { f.spool.close() }()
	err := f.members()
	if err == errStopped {
		return
	}
	if err == nil && f.spool != nil {
		f.h.close()
		if err = f.drain(); err == errStopped {
			return
		}
	}
	if err != nil {
		f.yield(Record{Line: f.line, Index: f.index, Err: sectionError(f.src, f.line, err)})
	}
}

func (f *tau2File) members() error {
	if isObject, err := f.open(); err != nil || !isObject {
		return err
	}
	for {
		key, done, err := f.key()
		if err != nil {
			return err
		}
		if done {
			break
		}
		if key == "simulations" {
			if err := f.simulations(); err != nil {
				return err
			}
			continue
		}
		v, err := f.value()
		if err != nil {
			return err
		}
		f.h.take(key, v)
	}
	if c, err := f.peek(); err == nil {
		return &canon.SyntaxError{Line: int(f.line), Offset: f.off, Msg: "text after the end of the results: " + strings.ToValidUTF8(string(c), "?")}
	}
	return nil
}

// simulations reads the list, at once if the header is known, else by way of a
// temporary file.
func (f *tau2File) simulations() error {
	if c, err := f.peek(); err != nil || c != '[' {
		if err == nil {
			_, err = f.value() // null: they stand in files of their own
		}
		return err
	}
	line := f.line
	b := &bounded{s: &f.section}
	if f.h.info.IsNull() || f.h.tasks == nil {
		var err error
		f.spool, err = spoolFrom(b, line)
		return err
	}
	f.h.close()
	return f.scan(b, line)
}

func (f *tau2File) drain() error {
	r, err := f.spool.reader()
	if err != nil {
		return err
	}
	return f.scan(r, f.spool.line)
}

func (f *tau2File) scan(r io.Reader, line int64) error {
	opt := canon.ScanOptions{Shape: canon.Element, MaxRecord: f.src.MaxRecord, Line: int(line)}
	next, done := scanAll(f.ctx, r, f.src, opt, f.index, func(d document) []Record { return f.im.simulation(d, f.src, &f.h) }, f.yield)
	f.index = next
	if !done {
		return errStopped
	}
	return nil
}

// tau2Status is how a call went where the message does not say: the environment
// answers a failed call with a text that begins with "Error".
func tau2Status(_ canon.Value, text string) *string {
	if strings.HasPrefix(text, "Error") {
		return some("error")
	}
	return some("ok")
}

// participants of a simulation, by its header.
func tau2Participants(info canon.Value) []schema.Participant {
	return []schema.Participant{
		{Kind: some("agent"), Name: some("assistant"), Model: str(get(info, "agent_info"), "llm"), Trainable: some(true)},
		{Kind: some("user_sim"), Name: some("user"), Model: str(get(info, "user_info"), "llm"), Trainable: some(false)},
	}
}
