package console

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// table aligns columns without waiting for the last row: the first rows decide
// how wide the columns are, and in tables of events later ones with a new header.
type table struct {
	w      io.Writer
	timer  *time.Timer
	header []string // comes again when a later row is wider; nil: never

	mu     sync.Mutex
	widths []int
	first  [][]string // rows kept back until the widths are known
	known  bool
	err    error
}

const (
	firstRows = 100                    // decide the widths
	firstWait = 200 * time.Millisecond // unless the next row takes longer
	ColumnGap = 3
)

func newTable(w io.Writer, header []string) *table {
	t := &table{w: w, widths: make([]int, len(header)), first: [][]string{header}}
	t.timer = time.AfterFunc(firstWait, t.flush)
	return t
}

func (t *table) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flushLocked()
}

func (t *table) flushLocked() {
	t.known = true
	for _, row := range t.first {
		t.widen(row)
	}
	for _, row := range t.first {
		t.write(row)
	}
	t.first = nil
}

// widen makes room for a row, and reports whether there was too little.
func (t *table) widen(row []string) (wider bool) {
	for i, cell := range row {
		if width := utf8.RuneCountInString(cell); width > t.widths[i] {
			t.widths[i] = width
			wider = wider || i < len(row)-1 // nothing stands behind the last
		}
	}
	return wider
}

func (t *table) row(cells []string) error {
	for i := range cells {
		cells[i] = Printable(cells[i])
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known {
		if t.header != nil && t.widen(cells) {
			t.write(t.header)
		}
		t.write(cells)
		return t.err
	}
	if t.first = append(t.first, cells); len(t.first) > firstRows {
		t.flushLocked()
	}
	return t.err
}

func (t *table) write(cells []string) {
	var line strings.Builder
	for i, cell := range cells {
		line.WriteString(cell)
		if i < len(cells)-1 {
			line.WriteString(strings.Repeat(" ", max(0, t.widths[i]-utf8.RuneCountInString(cell))+ColumnGap))
		}
	}
	if t.err == nil {
		_, t.err = fmt.Fprintln(t.w, strings.TrimRight(line.String(), " "))
	}
}

// close prints what was kept back. More calls do nothing.
func (t *table) close() error {
	t.timer.Stop()
	t.flush()
	return t.err
}

// Printable keeps what clients sent from steering the terminal, and empty cells
// from looking like missing ones.
func Printable(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}
