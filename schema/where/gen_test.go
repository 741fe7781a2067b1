package where

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"trajlake/schema"
)

// generator makes random tables of some columns of the folded view, and random
// predicates over them.
type generator struct {
	*rand.Rand
	exponents bool // print floats with an exponent, so that DuckDB reads no decimals
}

func newGenerator(seed uint64) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, 7))}
}

var (
	testStrings = []string{"", "a", "ab", "abc", "b", "a%b", "a_b", "swe-bench", "swe-gym", "tau", "Tau", "it's", "é", "zürich", "轨迹", "😀", "\uffff"}
	testInts    = []int64{0, 1, 2, 3, 7, 10, 20, 40, 60, -1, -5}
	testFloats  = []float64{0, 0.25, 0.5, 1, 1.5, -0.75, 2, 100.125, -3}
	testTimes   = []string{"2026-01-01", "2026-01-01 00:00:00.000001", "2026-03-01 12:30:00", "2026-03-01 12:30:00.5", "1969-12-31 23:59:59.999999"}
	mapKeys     = []string{"k", "branch", "it's"}
	stringCols  = []string{"status", "mode", "source.format", "metadata['k']", "metadata['it''s']", `"run_id"`, "TASK_ID"}
	intCols     = []string{"effort_level", "num_turns", "prompt_tokens", "source.record", "len(tool_kinds)", "Len(flags)"}
	floatCols   = []string{"reward", "cost_usd", "priority", "sampling.temperature"}
	boolCols    = []string{"success", "quarantined", "trainable"}
	timeCols    = []string{"started_at", "finished_at"}
	anyCols     = []string{"content_hash", "source", "tool_kinds", "turns", "metadata", "sampling"}
)

func (g *generator) pick(from []string) string { return from[g.IntN(len(from))] }

func (g *generator) str() string {
	if g.IntN(3) == 0 {
		return quote(g.pick(testStrings))
	}
	return g.pick(stringCols)
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func (g *generator) literal() string {
	if g.IntN(2) == 0 {
		return fmt.Sprint(testInts[g.IntN(len(testInts))])
	}
	f := testFloats[g.IntN(len(testFloats))]
	if g.exponents {
		return fmt.Sprintf("%e", f)
	}
	return fmt.Sprintf("%.3f", f)
}

// number is a numeric expression; arithmetic only while depth lasts.
func (g *generator) number(depth int) string {
	if depth > 0 && g.exponents && g.IntN(3) == 0 {
		switch g.IntN(6) {
		case 0:
			return "-(" + g.number(depth-1) + ")"
		case 1:
			return "(" + g.number(depth-1) + ")"
		default:
			return g.number(depth-1) + g.pick([]string{" + ", "-  ", " * ", "/"}) + g.number(depth-1)
		}
	}
	switch g.IntN(7) {
	case 0, 1:
		return g.literal()
	case 2:
		if g.IntN(4) == 0 {
			return "NULL"
		}
		fallthrough
	case 3, 4:
		return g.pick(intCols)
	}
	return g.pick(floatCols)
}

func (g *generator) instant() string {
	switch g.IntN(4) {
	case 0:
		return "TIMESTAMP '" + g.pick(testTimes) + "'"
	case 1:
		return "timestamptz '2026-03-01T13:30:00+01:00'"
	}
	return g.pick(timeCols)
}

func (g *generator) list(item func() string) string {
	items := make([]string, 1+g.IntN(4))
	for i := range items {
		items[i] = item()
	}
	return "(" + strings.Join(items, ", ") + ")"
}

func (g *generator) maybeNot() string {
	return g.pick([]string{"", "", "not "})
}

func (g *generator) operand() (item func() string) {
	switch g.IntN(5) {
	case 0:
		return g.instant
	case 1, 2:
		return g.str
	}
	return func() string { return g.number(2) }
}

// predicate is a random condition.
func (g *generator) predicate(depth int) string {
	if depth > 0 {
		switch g.IntN(6) {
		case 0:
			return g.predicate(depth-1) + " AND " + g.predicate(depth-1)
		case 1:
			return g.predicate(depth-1) + "\n or " + g.predicate(depth-1)
		case 2:
			return "NOT " + g.predicate(depth-1)
		case 3:
			return "(" + g.predicate(depth-1) + ")"
		case 4:
			return "(" + g.predicate(depth-1) + ")" + g.pick([]string{"=", "<>", " is distinct from ", "<"}) + "(" + g.predicate(depth-1) + ")"
		}
	}
	item := g.operand()
	switch g.IntN(12) {
	case 0, 1, 2, 3:
		return item() + " " + g.pick([]string{"=", "<>", "!=", "<", "<=", ">", ">="}) + " " + item()
	case 4:
		return item() + " " + g.maybeNot() + "between " + item() + " and " + item()
	case 5:
		return item() + " " + g.maybeNot() + "IN " + g.list(item)
	case 6:
		return g.pick(stringCols) + " " + g.maybeNot() + "like " + g.pick([]string{"'%'", "'a%'", "'%b'", "'%e%'", "'_'", "'a_b'", "'a\\_b' escape '\\'", "'swe-%'", "'__%'", "'%a%b%'", "'tau'", "''", "'%轨_'"})
	case 7:
		return item() + " is " + g.maybeNot() + "distinct from " + item()
	case 8:
		return g.pick(append(anyCols, item())) + " IS " + g.maybeNot() + "NULL"
	case 9:
		return "list_contains(" + g.pick([]string{"tool_kinds", "flags"}) + ", " + g.str() + ")"
	case 10:
		return g.pick([]string{"true", "false", "null", "(1 < 2)", "(null is null)"})
	}
	return g.pick(boolCols)
}

// testColumns are the columns of the folded view that test records hold.
func testColumns() []*schema.Column {
	want := strings.Fields("status mode run_id task_id effort_level num_turns prompt_tokens reward cost_usd priority success quarantined trainable started_at finished_at content_hash source sampling tool_kinds flags turns metadata")
	var out []*schema.Column
	for _, name := range want {
		for _, c := range FoldedColumns() {
			if c.Name == name {
				out = append(out, c)
			}
		}
	}
	return out
}

// arrowType is the type of test records for a column: turns only as a list of a
// struct of one field.
func arrowType(c *schema.Column) arrow.DataType {
	switch c.Kind {
	case schema.String:
		switch c.Name {
		case "status":
			return &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}
		case "run_id":
			return arrow.BinaryTypes.LargeString
		}
		return arrow.BinaryTypes.String
	case schema.Byte:
		return arrow.PrimitiveTypes.Int8
	case schema.Int:
		return arrow.PrimitiveTypes.Int32
	case schema.Long:
		return arrow.PrimitiveTypes.Int64
	case schema.Float:
		return arrow.PrimitiveTypes.Float32
	case schema.Double:
		return arrow.PrimitiveTypes.Float64
	case schema.Boolean:
		return arrow.FixedWidthTypes.Boolean
	case schema.Timestamp:
		return &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	case schema.Binary:
		return arrow.BinaryTypes.Binary
	case schema.Map:
		return arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String)
	case schema.List:
		elem := arrowType(c.Elem)
		if c.Name == "flags" {
			return arrow.LargeListOf(elem)
		}
		return arrow.ListOf(elem)
	}
	var fields []arrow.Field
	for _, f := range c.Fields {
		if c.Name == "element" && f.Name != "role" {
			continue
		}
		fields = append(fields, arrow.Field{Name: f.Name, Type: arrowType(f), Nullable: true})
	}
	return arrow.StructOf(fields...)
}

// record makes a random record of the test columns. Rows of one record are
// drawn from a small part of the values, so that statistics can rule some out.
func (g *generator) record(rows int) arrow.Record {
	var fields []arrow.Field
	for _, c := range testColumns() {
		fields = append(fields, arrow.Field{Name: c.Name, Type: arrowType(c), Nullable: true})
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
	defer b.Release()
	for i := range fields {
		f := filler{g, g.IntN(100), 1 + g.IntN(20), g.IntN(5) == 0}
		for range rows {
			f.fill(b.Field(i))
		}
	}
	return b.NewRecord()
}

type filler struct {
	g        *generator
	from, n  int
	allNulls bool
}

func (f filler) at(n int) int { return (f.from + f.g.IntN(f.n)) % n }

func (f filler) fill(b array.Builder) {
	g := f.g
	if f.allNulls || g.IntN(5) == 0 && f.from%3 > 0 {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.StringBuilder:
		b.Append(testStrings[f.at(len(testStrings))])
	case *array.LargeStringBuilder:
		b.Append(testStrings[f.at(len(testStrings))])
	case *array.BinaryDictionaryBuilder:
		if err := b.AppendString(testStrings[f.at(len(testStrings))]); err != nil {
			panic(err)
		}
	case *array.Int8Builder:
		b.Append(int8(testInts[f.at(len(testInts))]))
	case *array.Int32Builder:
		b.Append(int32(testInts[f.at(len(testInts))]))
	case *array.Int64Builder:
		b.Append(testInts[f.at(len(testInts))])
	case *array.Float64Builder:
		b.Append(testFloats[f.at(len(testFloats))])
	case *array.BooleanBuilder:
		b.Append(f.at(2) == 1)
	case *array.TimestampBuilder:
		at, err := parseTime(testTimes[f.at(len(testTimes))])
		if err != nil {
			panic(err)
		}
		b.Append(arrow.Timestamp(at))
	case *array.BinaryBuilder:
		b.Append([]byte{byte(g.IntN(3))})
	case *array.MapBuilder:
		b.Append(true)
		for _, k := range mapKeys {
			if g.IntN(2) == 0 {
				b.KeyBuilder().(*array.StringBuilder).Append(k)
				f.fill(b.ItemBuilder())
			}
		}
	case *array.ListBuilder:
		b.Append(true)
		for range g.IntN(4) {
			f.fill(b.ValueBuilder())
		}
	case *array.LargeListBuilder:
		b.Append(true)
		for range g.IntN(4) {
			f.fill(b.ValueBuilder())
		}
	case *array.StructBuilder:
		b.Append(true)
		for i := range b.NumField() {
			f.fill(b.FieldBuilder(i))
		}
	default:
		panic(fmt.Sprintf("no values for %T", b))
	}
}
