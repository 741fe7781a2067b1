package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"trajlake/internal/term"
)

// progressEvery is the least time between two drawings of a bar.
const progressEvery = 100 * time.Millisecond

// progress is a bar on a terminal's last line; without a terminal it draws
// nothing. It is safe for concurrent use.
type progress struct {
	a     *app
	label string
	width int // of the terminal; 0 = silent
	now   func() time.Time

	mu    sync.Mutex
	began time.Time
	last  time.Time // of the last drawing
	drawn bool
}

func (a *app) progress(label string) *progress {
	p := &progress{a: a, label: label, now: time.Now}
	if !a.quiet && !a.json {
		p.width = term.Width(a.stderr)
	}
	p.began = p.now()
	return p
}

// update draws the bar: done of total units (total 0 = unknown) and a remark.
func (p *progress) update(done, total int64, remark string) {
	if p.width == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if now.Sub(p.last) < progressEvery && done < total {
		return
	}
	p.last, p.drawn = now, true
	fmt.Fprintf(p.a.stderr, "\r\x1b[K%s", p.line(done, total, now.Sub(p.began), remark))
}

// line is the bar as text, within the terminal's width.
func (p *progress) line(done, total int64, took time.Duration, remark string) string {
	text := p.label
	if total > 0 {
		done = min(done, total)
		const cells = 24
		full := int(done * cells / total)
		text += fmt.Sprintf(" [%s%s] %3d%%", strings.Repeat("=", full), strings.Repeat(" ", cells-full), done*100/total)
		if done > 0 && done < total && took > time.Second {
			left := time.Duration(float64(took) * float64(total-done) / float64(done))
			text += ", " + left.Round(time.Second).String() + " left"
		}
	}
	if remark != "" {
		text += ", " + term.Line(remark)
	}
	if r := []rune(text); len(r) >= p.width {
		text = string(r[:max(0, p.width-1)])
	}
	return text
}

// clear takes the bar away.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn {
		fmt.Fprint(p.a.stderr, "\r\x1b[K")
		p.drawn = false
	}
}

// rate is rows per second so far, as a remark.
func (p *progress) rate(rows int64) string {
	took := p.now().Sub(p.began).Seconds()
	if took < 0.5 {
		return ""
	}
	return fmt.Sprintf(", %s rows/s", thousands(int64(float64(rows)/took)))
}
