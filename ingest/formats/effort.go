package formats

import (
	"strings"

	"trajlake/schema"
	"trajlake/schema/canon"
)

// vendors maps parts of a model's name to the dialect its parameters are in.
var vendors = []struct{ part, dialect string }{
	{"gpt-oss", schema.DialectHarmony}, {"deepseek", schema.DialectDeepSeek}, {"claude", schema.DialectAnthropic}, {"gemini", schema.DialectGemini},
	{"qwen", schema.DialectQwen}, {"glm", schema.DialectZAI}, {"grok", schema.DialectXAI}, {"mistral", schema.DialectMistral},
	{"magistral", schema.DialectMistral}, {"openrouter", schema.DialectOpenRouter},
}

// dialectOf is the dialect of a model's parameters, by its name; other if the
// name says nothing.
func dialectOf(model *string, other string) string {
	if model != nil {
		name := strings.ToLower(*model)
		for _, v := range vendors {
			if strings.Contains(name, v.part) {
				return v.dialect
			}
		}
	}
	return other
}

// effort reads what the request's parameters say about effort.
func (b *builder) effort(dialect string, params canon.Value) {
	schema.EffortFromVendor(dialectOf(b.row.Model, dialect), params).Apply(b.row)
}
