package console

import (
	"fmt"
	"strings"
	"time"
)

// progress tells how far something long is, on standard error: a bar on a terminal,
// elsewhere a line now and then. What is short shows nothing.
type progress struct {
	c        *Console
	did      string // what is being done, in the past tense
	of       string
	terminal bool
	began    time.Time
	shown    time.Time
	drawn    bool
}

const (
	progressAfter = time.Second            // what takes less shows nothing
	progressBar   = 200 * time.Millisecond // between two bars
	progressLine  = 10 * time.Second       // between two lines
)

// Progress begins to tell how far something is: what was done, and of what.
func (c *Console) Progress(did, of string) *progress {
	return &progress{c: c, did: did, of: of, terminal: IsTerminal(c.Err), began: time.Now()}
}

// Bytes tells how many bytes of how many are done.
func (p *progress) Bytes(done, all int) { p.show(done, all, Bytes(done), Bytes(all)) }

// Count tells how many of how many are done; all is 0 if it is not known.
func (p *progress) Count(done, all int) { p.show(done, all, fmt.Sprint(done), fmt.Sprint(all)) }

const barWidth = 30

func (p *progress) show(done, all int, doneText, allText string) {
	every := progressLine
	if p.terminal {
		every = progressBar
	}
	now := time.Now()
	if now.Sub(p.began) < progressAfter || now.Sub(p.shown) < every {
		return
	}
	p.shown = now
	if !p.terminal {
		of := ""
		if all > 0 {
			of = " of " + allText
		}
		p.c.Done("%s %s%s (%s)", p.did, doneText, of, p.of)
		return
	}
	bar := ""
	if all > 0 {
		full := min(barWidth*done/all, barWidth)
		bar = "[" + strings.Repeat("#", full) + strings.Repeat(".", barWidth-full) + "] of " + allText + " "
	}
	fmt.Fprintf(p.c.Err, "\r\x1b[K%s %s %s%s", p.did, doneText, bar, p.of)
	p.drawn = true
}

// End takes the bar away.
func (p *progress) End() {
	if p.drawn {
		fmt.Fprint(p.c.Err, "\r\x1b[K")
	}
}
