package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"trajlake/internal/term"
	"trajlake/schema/fault"
	"trajlake/schema/where"
)

// exit reports how a command line ended and returns its exit code.
func (a *app) exit(err error) int {
	var o outcome
	switch {
	case err == nil:
		return 0
	case errors.As(err, &o):
		return int(o)
	}
	var known *fault.Error
	if a.verb == "" && !errors.As(err, &known) { // cobra's own: an unknown verb
		err = fault.WrapAs(fault.Usage, "", err).(*fault.Error).WithHint("see `trajlake --help`")
	}
	a.explain(err)
	return fault.KindOf(err).Codes().Exit
}

// problem is an error as JSON on stderr.
type problem struct {
	Verb    string `json:"verb,omitempty"`
	Kind    string `json:"kind"`
	Message string `json:"message"`
	Field   string `json:"field,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

// explain prints an error: what was being done, what went wrong, what to do.
func (a *app) explain(err error) {
	p := problem{Verb: a.verb, Kind: fault.KindOf(err).String(), Message: err.Error(), Field: fault.FieldOf(err), Hint: fault.HintOf(err)}
	if a.json {
		line, merr := compact(map[string]problem{"error": p})
		if merr == nil {
			_, _ = a.stderr.Write(append(line, '\n'))
			return
		}
	}
	name := strings.TrimSpace("trajlake " + a.verb)
	fmt.Fprintf(a.stderr, "%s %s\n", a.style.Red(name+":"), term.Text(p.Message))
	var at *where.PositionError
	if errors.As(err, &at) {
		fmt.Fprintln(a.stderr, term.Text(at.Caret()))
	}
	if p.Hint != "" {
		fmt.Fprintf(a.stderr, "%s %s\n", a.style.Cyan("hint:"), term.Text(p.Hint))
	}
}

// note is a remark on stderr, silenced by --quiet and --json.
func (a *app) note(format string, args ...any) {
	if !a.quiet && !a.json {
		fmt.Fprintln(a.stderr, a.style.Dim(term.Text(fmt.Sprintf(format, args...))))
	}
}

// compact is v as JSON on one line, with < and > as they are.
func compact(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fault.Wrap("write JSON", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// printJSON writes v as one line on stdout.
func (a *app) printJSON(v any) error {
	line, err := compact(v)
	if err != nil {
		return err
	}
	return a.print(append(line, '\n'))
}

// print writes to stdout.
func (a *app) print(text []byte) error {
	_, err := a.stdout.Write(text)
	return fault.Wrap("write to stdout", err)
}

// table writes rows of cells in columns, the cells escaped; numbers (cells that
// begin with a digit, a sign or a dash) stand to the right.
func table(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	widths := map[int]int{}
	numeric := map[int]bool{}
	for r, row := range rows {
		for c, cell := range row {
			widths[c] = max(widths[c], len([]rune(cell)))
			if r == 1 {
				numeric[c] = isNumber(cell)
			} else if r > 1 {
				numeric[c] = numeric[c] && isNumber(cell)
			}
		}
	}
	for _, row := range rows {
		cells := make([]string, len(row))
		for c, cell := range row {
			cells[c] = term.Line(cell)
			if numeric[c] {
				cells[c] = strings.Repeat(" ", max(0, widths[c]-len([]rune(cell)))) + cells[c]
			}
		}
		fmt.Fprintln(t, strings.TrimRight(strings.Join(cells, "\t"), " "))
	}
	return fault.Wrap("write table", t.Flush())
}

func isNumber(cell string) bool {
	_, err := strconv.ParseFloat(strings.ReplaceAll(cell, ",", ""), 64)
	return err == nil
}

// thousands is n with commas between groups of three digits.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// bytesText is a size for people.
func bytesText(n int64) string {
	const units = "KMGTP"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f := float64(n)
	u := -1
	for f >= 999.5 && u < len(units)-1 {
		f /= 1000
		u++
	}
	return fmt.Sprintf("%.3g %cB", f, units[u])
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(n) + " " + many
}
