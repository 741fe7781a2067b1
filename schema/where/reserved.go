package where

import "strings"

// reserved holds the words that DuckDB does not take as a column's name without
// double quotes. They are refused here too, so that one text works in both.
var reserved = wordSet(`
all analyse analyze and anti any array as asc asof asymmetric at authorization between binary both by case
cast check collate collation column columns concurrently constraint create cross default deferrable desc
describe distinct do else end except false fetch for foreign freeze from full generated glob group having
ilike in initially inner intersect into is isnull join lambda lateral leading left like limit map natural not
notnull null offset on only or order outer overlaps pivot pivot_longer pivot_wider placing positional primary
qualify references returning right select semi show similar some struct summarize symmetric table tablesample
then to trailing true try_cast tuple union unique unpack unpivot using variadic verbose when where window with`)

// quoted holds the words that are printed in double quotes though they are not
// reserved, because DuckDB gives some of them another meaning in some places.
var quoted = wordSet(`
current_date current_time current_timestamp current_user escape grant localtime localtimestamp session_user user
bigint bit boolean char character coalesce dec decimal exists extract float grouping grouping_id inout int
integer interval national nchar none nullif numeric out overlay position precision real row setof smallint
substring time timestamp timestamptz treat trim values varchar xmlattributes xmlconcat xmlelement xmlexists
xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable`)

func wordSet(words string) map[string]bool {
	out := make(map[string]bool)
	for _, w := range strings.Fields(words) {
		out[w] = true
	}
	return out
}
