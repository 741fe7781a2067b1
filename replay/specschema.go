package replay

import (
	_ "embed"
	"slices"
)

//go:embed spec.schema.json
var specSchema []byte

// JSONSchema is the published JSON Schema (draft 2020-12) of a spec as it is
// written: every key with its values and default. It describes the whole language;
// Validate refuses what this version does not serve, and what a schema cannot say.
func JSONSchema() []byte { return slices.Clone(specSchema) }
