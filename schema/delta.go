package schema

import "strings"

// DeltaSchemaString is the schemaString of a table's metaData action: Spark's
// JSON of its columns, all nullable (the files require what is never null, a
// reader widens), with the partition column last.
func DeltaSchemaString(t *Table) string {
	var b strings.Builder
	b.WriteString(`{"type":"struct","fields":[`)
	for _, c := range t.Columns {
		deltaField(&b, c)
		b.WriteByte(',')
	}
	b.WriteString(`{"name":"` + PartitionColumn + `","type":"date","nullable":true,"metadata":{}}]}`)
	return b.String()
}

func deltaField(b *strings.Builder, c *Column) {
	b.WriteString(`{"name":"` + c.Name + `","type":`)
	deltaType(b, c)
	b.WriteString(`,"nullable":true,"metadata":{}}`)
}

func deltaType(b *strings.Builder, c *Column) {
	switch c.Kind {
	case Struct:
		b.WriteString(`{"type":"struct","fields":[`)
		for i, f := range c.Fields {
			if i > 0 {
				b.WriteByte(',')
			}
			deltaField(b, f)
		}
		b.WriteString(`]}`)
	case List:
		b.WriteString(`{"type":"array","elementType":`)
		deltaType(b, c.Elem)
		b.WriteString(`,"containsNull":true}`)
	case Map:
		b.WriteString(`{"type":"map","keyType":"string","valueType":"string","valueContainsNull":true}`)
	default:
		b.WriteString(`"` + c.Kind.String() + `"`)
	}
}
