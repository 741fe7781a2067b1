// Package where is the one predicate grammar of the lake: what a `--where` flag,
// a stream's spec and a server call take to choose rows.
//
// A predicate is parsed once (Parse), checked against a list of columns (Bind)
// and then evaluated: over Arrow records row by row (Filter) and over the
// statistics of a file or page (Stats), which says whether any row, or every
// row, of it can be selected. Scalar expressions, for weights, share the grammar
// (ParseScalar).
//
// The language is a subset of SQL with SQL's three-valued logic: a comparison
// with null is unknown, and only rows for which the predicate is true are
// selected. Text that this package accepts means the same in DuckDB, with the
// exceptions that docs/reference/where.md lists. Strings compare by their bytes,
// integers and floats by their exact values, instants in UTC.
//
// Parsed and bound values are immutable and safe for concurrent use. Text of any
// origin is safe to parse: length and nesting are limited.
package where
